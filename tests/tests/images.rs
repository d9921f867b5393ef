//! Images that do not suit their machines: that is found before anything that runs is touched.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use vmm_tests::setup::Setup;
use xtask::house::wait_until;

fn run<'a>(name: &'a str, image: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["run", name, image, "--memory", "64", "--cpu", "0"], more].concat()
}

/// What says which process of which start of which machine runs.
fn running(setup: &Setup, name: &str) -> Value {
    let machine = setup.json("admin", &["info", name])[0].clone();
    assert_eq!(machine["state"], json!("running"));
    assert!(machine["pid"].is_u64());
    json!([machine["id"], machine["pid"], machine["started"], machine["restarts"]])
}

#[test]
fn a_replacement_with_an_image_that_cannot_be_its_own_leaves_the_process_alone() {
    let setup = Setup::new();
    setup.client("dev", &run("tick", "ticker.spt", &[])).expect(0);
    let before = running(&setup, "tick");
    std::fs::write(setup.file("rubbish.spt"), "this is no image at all\n".repeat(1000)).unwrap();
    for (image, because) in [
        ("rubbish.spt", "ELF"),
        ("echo.spt", "needs the network device \"service\""),
        // What was looked at before is judged again.
        ("echo.spt", "needs the network device \"service\""),
    ] {
        let done = setup.client("dev", &run("tick", image, &["--replace"]));
        done.expect(1);
        assert!(done.err.contains(because), "{}", done.err);
        assert_eq!(running(&setup, "tick"), before, "{image}");
    }
    let quota = setup.json("admin", &["quota"]);
    assert_eq!(quota[0]["machines"], json!({"limit": 2, "used": 1}));
    let images = || std::fs::read_dir(setup.file("run/vmmd/images")).unwrap().count();
    wait_until("only what runs is stored", || images() == 1).unwrap();
}

#[test]
fn why_says_which_devices_of_an_image_that_is_known_do_not_suit_the_machine() {
    let setup = Setup::new();
    let command = run("other", "ticker.spt", &["--network", "net=ext"]);
    let why = |setup: &Setup| {
        let told =
            setup.client("admin", &[&["--format", "json", "why"], &command[..]].concat()).json();
        let obstacles = told["obstacles"].as_array().unwrap().clone();
        obstacles.into_iter().filter(|it| it["code"] == "image").collect::<Vec<_>>()
    };
    assert_eq!(why(&setup), [] as [Value; 0], "nobody has looked at it");
    setup.client("dev", &run("tick", "ticker.spt", &[])).expect(0);
    let found = why(&setup);
    let [found] = &found[..] else { panic!("{found:?}") };
    let text = found["message"].as_str().unwrap();
    assert!(text.contains("\"net\", which the image does not declare"), "{text}");
}
