//! The known secrets that the tests search for, by name.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use url::form_urlencoded;

/// Lists names and texts. The first 12 characters of each text occur nowhere else.
macro_rules! secrets {
    ($($name:ident = $text:literal,)*) => {
        $(pub(crate) const $name: &str = $text;)*
        pub(crate) const ALL: [(&str, &str); 32] = [$((stringify!($name), $text)),*];
    };
}

secrets! {
    CLIENT_BASIC = "5uryx45/Qro25G+Uk5KBa~EGIUe8=caNMU",
    CLIENT_POST = "o6rVVbF/hz1fZF+kPCMGF~QswSTs=KnH5B",
    PASSWORD = "RtO21Ok/DAzpnT+IspVmu~6J7oRj=bKKZ7",
    ACCESS_1 = "t3HsIxl/WOH6mD+MbLL1F~y4SAzp=UruZ8",
    REFRESH_1 = "dhwwuD1/KH8djV+EkvGFV~pF9qxT=CyBMO",
    ID_TOKEN = "ggsAKB7/vh5I5T+IaRGYG~PM2OGT=jY4Ip",
    ACCESS_2 = "FcfALM0/TZ82G6+SNXnTJ~uGARD4=XvSZ1",
    REFRESH_2 = "5dzGEke/96Asuh+7wjn9V~ALRSm2=GACNv",
    SEED_ACCESS = "Nn8ZsmF/2XyScD+pI4nY5~jZZQAz=7dFl3",
    SEED_REFRESH = "fUOxMSc/VYNnDW+Fv0XBw~ePiJSx=AIrXW",
    NEW_ACCESS = "hJBObhc/7ZYsi1+6Sgmpt~nwxFpf=WvIdq",
    NEW_REFRESH = "v2PfIW2/U5o5jJ+vsurri~wHvRpC=MXZNi",
    ERROR_ACCESS = "gtT0eoL/5IIR4B+q6E4xK~RPxqUF=QQGIT",
    BROKEN_ACCESS = "EfCgCee/t3gvqG+5I0tTg~a79Kdc=5xhe1",
    BROKEN_REFRESH = "JLMMSHM/ZdE2x2+ToiHzN~503NuT=NgSb2",
    UNREADABLE = "eGXhPvz/jkX0SJ+VzYJSg~34uIgE=m0ghC",
    LOCATION = "H3R4ak6/iMm15r+ca7tCt~L1L0zG=tmkvo",
    PAGE = "TKP9R9O/Gjsilc+VyPiuK~DcFgBS=5QxWQ",
    API_ACCESS = "7TiZo65/7rEr3X+Dkvx2L~OoEuca=CAmwN",
    API_REFRESH = "Yi78jzd/Sw22d5+2qx0hS~GcMJno=vC2WL",
    FOLIO_PASSWORD = "qMLOSAH/O6bgom+qRnVpx~i8IU47=DA2Fg",
    FOLIO_CODE = "gheL0JN/0WIJ4w+yGKj96~0dN3FH=B8nJg",
    FOLIO_ACCESS = "w8WTX9v/BQtBcA+ySse0d~TDBCFB=2TaRd",
    FOLIO_REFRESH = "n6RF00p/b3tEB4+wBQvAx~rhl0Er=A0UuG",
    FOLIO_LEGACY = "fbGVhBu/rH6k1q+C4nOcP~XjEth0=tEP10",
    EUREKA_ACCESS = "Qlc1dfC/Cz3z6z+pdFL5K~hnNjny=8kPMP",
    STORE_PASSWORD = "SCI7W9l1vu5md6uUcfA6TmHXvM2Sx3Jmlt",
    SEAL_KEY = "02kuhLD/y3OQLh+xgAowG~Ged8hR=5Db9P",
    INLINE = "SzxVTPW/bqE65N+4N9ufd~pUJdqi=ZEBwJ",
    FILE = "eNklvgD/tQAGgd+OHqyBI~5E7OYh=jVNQp",
    URL_PASSWORD = "ujR9UNtO4aDQ9pinvAhPscVaUvXFFnZeLR",
    PANIC = "IE9sJCI/OHl8BN+VPCfO6~t18ZGd=z14jN",
}

/// All forms in which a secret can appear: parts of the secret, and its encodings.
pub(crate) fn forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let listed = format!("{:?}", &bytes[..12]);
    let mut forms = vec![
        secret[..12].to_owned(),
        secret[secret.len() - 12..].to_owned(),
        secret.chars().rev().collect(),
        form_urlencoded::byte_serialize(&bytes[..12]).collect(),
        secret[..12].replace('/', "\\/"),
        secret[..12].replace('/', "\\u002f"),
        hex(&bytes[..12]),
        hex(&bytes[..12]).to_uppercase(),
        listed.trim_matches(['[', ']']).to_owned(),
    ];
    for engine in [&BASE64_STANDARD, &BASE64_URL_SAFE] {
        // The encoding of a secret behind other bytes has one of three forms. The first characters of the form depend
        // on the bytes before.
        for (before, depend) in [(0, 0), (1, 2), (2, 3)] {
            let padded = [&vec![0; before], bytes].concat();
            forms.push(engine.encode(padded)[depend..depend + 16].to_owned());
        }
    }
    forms
}
