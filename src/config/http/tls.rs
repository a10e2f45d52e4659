//! `ca_file`, `certificate_file` and `private_key`: whom the client trusts, and how it proves itself to the server (RFC 8705).
//!
//! Everything is parsed here before the client is built, because the client's own error names no key.

#[cfg(feature = "rustls")]
pub(super) use self::with_rustls::{identify, trust};
#[cfg(not(feature = "rustls"))]
pub(super) use self::without_rustls::{identify, trust};

#[cfg(not(feature = "rustls"))]
mod without_rustls {
    use std::path::Path;

    use reqwest::ClientBuilder;

    use crate::parameters::{ConfigError, Secret};

    pub(crate) fn trust(_: ClientBuilder, _: &Path) -> Result<ClientBuilder, ConfigError> {
        Err(ConfigError::without_feature("ca_file", "", "rustls"))
    }

    pub(crate) fn identify(
        _: ClientBuilder,
        _: &Path,
        _: &Secret,
    ) -> Result<ClientBuilder, ConfigError> {
        let path = "certificate_file";
        Err(ConfigError::without_feature(path, "", "rustls"))
    }
}

#[cfg(feature = "rustls")]
mod with_rustls {
    use std::fs;
    use std::path::Path;

    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use reqwest::{Certificate, ClientBuilder, Identity};
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::sign::CertifiedKey;
    use rustls::{Error, InconsistentKeys, RootCertStore};
    use zeroize::Zeroizing;

    use crate::parameters::{ConfigError, Secret};

    /// The longest file of certificates, in bytes. The list of all public authorities takes a quarter of a megabyte.
    const LIMIT: u64 = 4 * 1024 * 1024;

    /// Trusts the certificates of `file`, and no authority of the system.
    pub(crate) fn trust(builder: ClientBuilder, file: &Path) -> Result<ClientBuilder, ConfigError> {
        let certificates = certificates("ca_file", file)?;
        for (at, certificate) in certificates.iter().enumerate() {
            let added = RootCertStore::empty().add(certificate.clone());
            added.map_err(|error| unusable("ca_file", file, at, error))?;
        }
        let trusted = certificates.iter().map(|der| Certificate::from_der(der));
        let trusted: Vec<_> = trusted.collect::<Result<_, _>>().map_err(|error| {
            ConfigError::new("ca_file", format!("cannot be used: {error}")).with_source(error)
        })?;
        // The program may have chosen another TLS, which would ignore the certificates.
        Ok(builder.tls_backend_rustls().tls_certs_only(trusted))
    }

    /// Presents the certificate of `file` to a server that asks for one.
    pub(crate) fn identify(
        builder: ClientBuilder,
        file: &Path,
        key: &Secret,
    ) -> Result<ClientBuilder, ConfigError> {
        const KEY: &str = "private_key";
        let chain = certificates("certificate_file", file)?;
        let pem = key.read_at(KEY)?;
        let mut keys = PrivateKeyDer::pem_slice_iter(pem.as_bytes());
        let (Some(Ok(der)), None) = (keys.next(), keys.next()) else {
            let problem = "must hold one private key in PEM, which is not encrypted: PKCS #8, PKCS #1 or SEC 1";
            return Err(ConfigError::new(KEY, problem));
        };
        let der = Zeroizing::new(der);
        let provider = aws_lc_rs::default_provider();
        let signing = provider.key_provider.load_private_key(der.clone_key());
        let signing = signing.map_err(|_| {
            let problem = "is not a private key that TLS can use; take RSA, ECDSA or Ed25519";
            ConfigError::new(KEY, problem)
        })?;
        match CertifiedKey::new(chain.clone(), signing).keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                let problem = "does not belong to the first certificate of `certificate_file`";
                return Err(ConfigError::new(KEY, problem));
            }
            Err(error) => return Err(unusable("certificate_file", file, 0, error)),
        }
        let identity = Identity::from_pem(pem_of(&chain, &der).as_bytes());
        let identity = identity.map_err(|error| {
            ConfigError::new("certificate_file", format!("cannot be used: {error}"))
                .with_source(error)
        })?;
        Ok(builder.tls_backend_rustls().identity(identity))
    }

    fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let refused = |problem: String| {
            let file = file.display();
            ConfigError::new(key, format!("the file `{file}` {problem}"))
        };
        let unreadable = |error| refused(format!("cannot be read: {error}"));
        // Checked before the file is opened, because opening a pipe waits for its writer.
        let metadata = fs::metadata(file).map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(refused("is not a regular file".to_owned()));
        }
        if metadata.len() > LIMIT {
            return Err(refused(format!("is longer than {LIMIT} bytes")));
        }
        // The file may hold a private key as well.
        let pem = Zeroizing::new(fs::read(file).map_err(unreadable)?);
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let certificates =
            certificates.map_err(|_| refused("is not PEM; convert or replace it".to_owned()))?;
        if certificates.is_empty() {
            return Err(refused("holds no certificate in PEM".to_owned()));
        }
        Ok(certificates)
    }

    fn unusable(key: &str, file: &Path, at: usize, error: Error) -> ConfigError {
        let (number, file) = (at + 1, file.display());
        let problem =
            format!("certificate {number} of the file `{file}` cannot be used; replace the file");
        ConfigError::new(key, problem).with_source(error)
    }

    /// The only form in which reqwest takes both, in a buffer that does not grow.
    fn pem_of(chain: &[CertificateDer<'_>], key: &PrivateKeyDer<'_>) -> Zeroizing<String> {
        let label = match key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        let certificates = chain.iter().map(|der| ("CERTIFICATE", der.as_ref()));
        let sections = || certificates.clone().chain([(label, key.secret_der())]);
        // The two lines around a section, without the labels, take 33 bytes.
        let room = |(label, der): (&str, &[u8])| 33 + 2 * label.len() + der.len().div_ceil(3) * 4;
        let mut pem = Zeroizing::new(String::with_capacity(sections().map(room).sum()));
        for (label, der) in sections() {
            for part in ["-----BEGIN ", label, "-----\n"] {
                pem.push_str(part);
            }
            BASE64_STANDARD.encode_string(der, &mut pem);
            for part in ["\n-----END ", label, "-----\n"] {
                pem.push_str(part);
            }
        }
        pem
    }

    #[cfg(test)]
    mod tests {
        use rustls::pki_types::PrivatePkcs8KeyDer;

        use super::*;

        #[test]
        fn the_buffer_of_a_private_key_has_its_final_size() {
            let chain = [
                CertificateDer::from(vec![1; 700]),
                CertificateDer::from(vec![2; 31]),
            ];
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(vec![3; 500]));
            let pem = pem_of(&chain, &key);
            assert_eq!(pem.len(), pem.capacity());
            let read = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
            assert_eq!(read.secret_der(), key.secret_der());
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
            assert_eq!(read.unwrap(), chain);
        }
    }
}
