//! The documentation is true where a program can judge that: links lead somewhere, the program of the README compiles,
//! and each test that a page names exists.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// Rendered with each type by an `impl` of tracing's for all types, whose documentation has this dead link.
const OF_TRACING: &str = "dispatcher#setting-the-default-subscriber";

/// The README shows `examples/readme.rs`, which is compiled with the examples, from its first line to its last.
#[test]
fn the_program_of_the_readme_is_the_one_that_is_compiled() {
    let readme = read("README.md");
    let shown = readme.split("```rust\n").nth(1).expect("a program");
    let (shown, rest) = shown.split_once("```").expect("an end");
    assert_eq!(shown, read("examples/readme.rs"));
    assert!(
        !rest.contains("```rust"),
        "a second program is compiled by nothing"
    );
}

/// The page on handing pairs over shows the files of `tests/handover/`, a package of its own that runs them. Its first program
/// is the end of both sign-ins.
#[test]
fn the_programs_of_the_page_on_handover_are_those_that_are_run() {
    let page = read("docs/handover.md");
    let mut shown = page.split("```rust,ignore\n").skip(1);
    let mut program = || {
        shown
            .next()
            .expect("a program")
            .split("```")
            .next()
            .unwrap()
    };
    let three_lines: Vec<_> = program().lines().collect();
    for name in ["http", "device", "code"] {
        let file = read(&format!("tests/handover/src/{name}.rs"));
        assert_eq!(program(), file, "{name}");
        let lines: Vec<_> = file.lines().map(str::trim).collect();
        let has_them = lines.windows(3).any(|lines| lines == three_lines);
        assert_eq!(has_them, name != "http", "{name}");
    }
    assert!(
        shown.next().is_none(),
        "another program is compiled by nothing"
    );
}

/// The pages of the repository link to files, headings and pictures that exist.
#[test]
fn links_between_the_pages_of_the_repository_lead_somewhere() {
    let mut links = 0;
    let mut dead = BTreeSet::new();
    for page in files(&root(), "md") {
        let text = fs::read_to_string(&page).expect("readable");
        let prose = prose(&text);
        for found in markdown_links(&prose) {
            links += 1;
            let Ok(target) = found else {
                dead.insert(format!("{}: {}", page.display(), found.unwrap_err()));
                continue;
            };
            if is_elsewhere(&target) {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if path.is_empty() {
                page.clone()
            } else {
                joined(page.parent().expect("in a folder"), path)
            };
            let is_there = file.exists()
                && (anchor.is_empty()
                    || anchors(&fs::read_to_string(&file).unwrap()).contains(anchor));
            if !is_there {
                dead.insert(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(links > 30, "found only {links}");
    assert_eq!(dead, BTreeSet::new());
}

/// The rendered pages link to pages, items and pictures that exist. The test renders them, which takes a minute where the
/// dependencies were not checked before.
#[test]
#[ignore = "renders the documentation: cargo test --all-features --test documentation -- --ignored"]
fn links_of_the_rendered_pages_lead_somewhere() {
    let rendered = Command::new(env!("CARGO"))
        .args(["doc", "--no-deps", "--all-features", "--quiet"])
        .current_dir(root())
        .status()
        .expect("cargo runs");
    assert!(rendered.success());
    // `target/debug/deps/documentation-..`
    let this = std::env::current_exe().expect("a path");
    let folder = this.ancestors().nth(3).expect("a target").join("doc");
    let pages: BTreeMap<PathBuf, String> = files(&folder.join("evertoken"), "html")
        .into_iter()
        .map(|page| (page.clone(), fs::read_to_string(page).expect("readable")))
        .collect();
    let ids: BTreeMap<&Path, BTreeSet<&str>> = pages
        .iter()
        .map(|(page, html)| (page.as_path(), attributes(html, "id").collect()))
        .collect();
    let mut links = 0;
    let mut dead = BTreeSet::new();
    for (page, html) in &pages {
        for target in attributes(html, "href").chain(attributes(html, "src")) {
            if is_elsewhere(target) || target == OF_TRACING {
                continue;
            }
            links += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() {
                page.clone()
            } else {
                joined(page.parent().expect("in a folder"), path)
            };
            // Pages of source code give their lines numbers, and are not read here.
            let has_anchor = anchor.is_empty()
                || ids
                    .get(file.as_path())
                    .is_none_or(|ids| ids.contains(anchor));
            if !file.exists() || !has_anchor {
                dead.insert(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(links > 1_000, "found only {links}");
    assert_eq!(dead, BTreeSet::new());
}

/// The pages name files and folders of the repository that exist. The change log names those of its time, and the page on
/// servers those of other projects.
#[test]
fn every_file_that_a_page_names_exists() {
    let mut named = 0;
    let mut missing = BTreeSet::new();
    for page in files(&root(), "md") {
        if page.ends_with("CHANGELOG.md") || page.ends_with("docs/servers.md") {
            continue;
        }
        let text = fs::read_to_string(&page).expect("readable");
        let folder = page.parent().expect("in a folder");
        for path in paths(&text) {
            named += 1;
            let places = [root(), root().join("src"), folder.to_owned()];
            if !places.iter().any(|place| place.join(path).exists()) {
                missing.insert(format!("{}: {path}", page.display()));
            }
        }
    }
    assert!(named > 100, "found only {named}");
    assert_eq!(missing, BTreeSet::new());
}

/// The page on reliability names tests so that readers can search for them.
#[test]
fn every_test_that_the_page_on_reliability_names_exists() {
    let page = read("docs/reliability.md");
    let code: String = ["src", "tests"]
        .iter()
        .flat_map(|part| files(&root().join(part), "rs"))
        .map(|file| fs::read_to_string(file).expect("readable"))
        .collect();
    let is_name = |word: &str| {
        let mut letters = word.chars();
        word.matches('_').count() >= 2
            && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let named: BTreeSet<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| is_name(word))
        .collect();
    assert!(named.len() > 40, "found only {named:?}");
    let unknown: Vec<_> = named
        .iter()
        .filter(|name| {
            !["(", "<"]
                .iter()
                .any(|end| code.contains(&format!("fn {name}{end}")))
        })
        .collect();
    assert!(unknown.is_empty(), "no test has these names: {unknown:#?}");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("readable")
}

/// The files with this ending, without those that were built, installed or hidden.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if name.starts_with('.') || name == "target" || name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|it| it == ending) {
            found.push(path);
        }
    }
    found
}

/// A target on the web is not asked for: a test needs no network.
fn is_elsewhere(target: &str) -> bool {
    target.contains(':')
}

/// `path` from `folder`, without the steps up: a picture's folder need not exist to be left again.
fn joined(folder: &Path, path: &str) -> PathBuf {
    let mut all = PathBuf::new();
    for part in folder.join(path).components() {
        match part {
            Component::ParentDir => {
                all.pop();
            }
            Component::CurDir => {}
            part => all.push(part),
        }
    }
    all
}

/// The spans of code that are a path: with a folder, or with the ending of a file.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    const FOLDERS: [&str; 6] = ["src/", "tests/", "docs/", "examples/", "benches/", "fuzz/"];
    const ENDINGS: [&str; 5] = [".rs", ".md", ".toml", ".sh", ".svg"];
    let is_path = |span: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        let is_placed = FOLDERS.iter().any(|folder| span.starts_with(folder))
            || span.contains('/') && ENDINGS.iter().any(|ending| span.ends_with(ending));
        span.chars().all(is_plain) && is_placed
    };
    text.lines()
        .filter(|line| !line.starts_with("```"))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(move |span| is_path(span))
}

/// A page without its blocks and spans of code.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let mut prose = String::new();
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        if !is_code && !is_fence && !line.starts_with("    ") {
            prose += line;
        }
        prose.push('\n');
    }
    prose.split('`').step_by(2).collect::<Vec<_>>().join("``")
}

/// The targets of `[text](target)`, `[text][label]`, `[label]` and `[label]: target`; a label without a target is an
/// error, because a reader sees its brackets.
fn markdown_links(prose: &str) -> Vec<Result<String, String>> {
    let mut labels = BTreeMap::new();
    for line in prose.lines() {
        if let Some((label, target)) = line.strip_prefix('[').and_then(|it| it.split_once("]: ")) {
            labels.insert(label, target.trim());
        }
    }
    let mut links: Vec<_> = labels
        .values()
        .map(|target| Ok((*target).to_owned()))
        .collect();
    let mut rest = prose;
    while let Some((_, after)) = rest.split_once('[') {
        let Some((text, behind)) = after.split_once(']') else {
            break;
        };
        rest = behind;
        if let Some(target) = behind.strip_prefix('(') {
            let (target, behind) = target.split_once(')').expect("a closed link");
            links.push(Ok(target.to_owned()));
            rest = behind;
        } else if !behind.starts_with(": ") {
            let label = behind
                .strip_prefix('[')
                .and_then(|it| it.split_once(']'))
                .map_or(text, |(label, behind)| {
                    rest = behind;
                    label
                });
            if !labels.contains_key(label) {
                links.push(Err(format!("[{label}] leads nowhere")));
            }
        }
    }
    links
}

/// What a heading can be linked to by, as the repository's pages and the rendered ones have it.
fn anchors(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

/// The values of an attribute in a page.
fn attributes<'a>(html: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!(" {name}=\"");
    let values: Vec<&str> = html
        .split(&begin)
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    values.into_iter()
}
