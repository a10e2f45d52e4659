//! Arguments that make no sense. The load itself is tested as a program, in `tests/gateway/load.rs`.

use clap::Parser as _;

use crate::arguments::Arguments;

fn parsed(arguments: &[&str]) -> anyhow::Result<Arguments> {
    let arguments = Arguments::try_parse_from([&["gateway"], arguments].concat())?;
    arguments.check()?;
    Ok(arguments)
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    for (arguments, word) in [
        (&["--weather"][..], "--instances"),
        (&["--reload-storms"], "--instances"),
        (
            &["--instances", "2", "--mode", "grace", "--store", "file:x"],
            "store",
        ),
        (&["--instances", "0"], "instances"),
        (&["--mode", "solution-1"], "synchronised"),
        (&["--store", "memory"], "file:DIRECTORY"),
        (&["--instances", "2", "--config", "x.toml"], "config"),
    ] {
        let error = parsed(arguments).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(word), "{arguments:?}: {error}");
    }
    assert!(parsed(&["--instances", "3", "--mode", "opaque"]).is_ok());
}
