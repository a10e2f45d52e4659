use super::*;
use crate::arguments::Strategy;
use crate::tally::Failure;
use crate::timeline::Timeline;

fn outcome(strategy: Strategy, failed: u64, rotations: &[u64]) -> Outcome {
    let mut timeline = Timeline::default();
    for tenth in 0..80 {
        timeline
            .imported
            .add(Duration::from_millis(tenth * 100), 250);
    }
    for second in rotations {
        timeline.rotated(Duration::from_secs(*second));
    }
    if failed > 0 {
        timeline.unauthorized.add(Duration::from_secs(3), 8);
    }
    Outcome {
        strategy,
        ok: 20_000,
        failed,
        first_failure: (failed > 0).then(|| Failure {
            after: Duration::from_secs(3),
            why: "the API <answered> 401".to_owned(),
        }),
        done_before: 0,
        rejected_before: 0,
        stopped: None,
        rotations: rotations.len() as u64,
        counters: None,
        elapsed: Duration::from_secs(8),
        wait_p50: Duration::ZERO,
        wait_p99: Duration::ZERO,
        broken_input: None,
        interrupted: false,
        timeline,
    }
}

fn drawn(outcomes: &[Outcome]) -> String {
    use clap::Parser as _;
    let arguments = Arguments::try_parse_from(["data_import"]).unwrap();
    picture(&arguments, outcomes).to_string()
}

fn count(svg: &str, part: &str) -> usize {
    svg.matches(part).count()
}

#[test]
fn each_token_rotation_and_rejection_is_drawn_where_it_was() {
    let legend = drawn(&[]);
    let svg = drawn(&[
        outcome(Strategy::Fixed, 50, &[]),
        outcome(Strategy::OnRequest, 0, &[2, 4, 6]),
    ]);
    for (part, expected) in [
        ("class=\"token odd\"", 1 + 2),
        ("class=\"token even\"", 2),
        ("class=\"rotation\"", 3),
        ("class=\"head\"", 3),
        ("class=\"rejection\"", 1),
        ("class=\"line\"", 2),
    ] {
        assert_eq!(count(&svg, part) - count(&legend, part), expected, "{part}");
    }
    // Half of the time is half of the way.
    let middle = (LEFT + WIDTH - MARGIN) / 2.0;
    assert!(svg.contains(&format!("cx=\"{middle}\"")), "{svg}");
    assert!(svg.contains("20,000 imported") && svg.contains("50 failed"));
    assert!(
        svg.contains("from 3.0 s on, the API &lt;answered&gt; 401")
            && svg.contains("complete after 8.0 s")
    );
}

#[test]
fn each_outage_is_a_band_with_its_name() {
    let mut outcome = outcome(Strategy::OnRequest, 0, &[2, 6]);
    outcome
        .timeline
        .outage_begins("404", Duration::from_secs(2));
    outcome.timeline.outage_ends(Duration::from_secs(4));
    // It is not over when the import is.
    outcome
        .timeline
        .outage_begins("reset", Duration::from_secs(6));
    let svg = drawn(&[outcome]);
    let bands = || svg.lines().filter(|line| line.contains("class=\"outage\""));
    assert_eq!(bands().count(), 2);
    let quarter = (WIDTH - MARGIN - LEFT) / 4.0;
    let width = format!("width=\"{quarter}\"");
    assert!(bands().all(|band| band.contains(&width)), "{svg}");
    for name in ["404", "reset"] {
        assert!(svg.contains(&format!("\n{name}\n")), "{svg}");
    }
}

#[test]
fn very_many_tokens_are_one_bar() {
    let rotations: Vec<_> = (0..4_000).map(|number| number / 500).collect();
    let svg = drawn(&[outcome(Strategy::OnRequest, 0, &rotations)]);
    assert_eq!(count(&svg, "class=\"token odd\""), 2);
    assert!(svg.len() < 20_000, "{}", svg.len());
}

#[test]
fn nothing_to_draw_is_a_picture_too() {
    let mut empty = outcome(Strategy::OptimisticEarly, 0, &[]);
    empty.elapsed = Duration::ZERO;
    empty.timeline = Timeline::default();
    for svg in [drawn(&[]), drawn(&[empty])] {
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
