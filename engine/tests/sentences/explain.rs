//! Why a deploy would be refused, all at once, and nothing changed by asking.

use vmm_engine::{Event, ImageId, Refusal, Room, Spec, Told};

use crate::stage::*;

fn codes(obstacles: &[Refusal]) -> Vec<&'static str> {
    obstacles.iter().map(Refusal::code).collect()
}

#[test]
fn what_would_be_accepted_has_nothing_in_its_way() {
    let mut stage = Stage::new();
    stage.present(&alice());
    let told = stage.explain("dev/alice/one", &spec(), &alice(), false);
    assert!(told.is_accepted(), "{:?}", told.obstacles);
    let paths: Vec<_> = told.levels.iter().map(|level| level.path.to_string()).collect();
    assert_eq!(paths, ["", "dev", "dev/alice"]);
    let walked: Vec<_> = told.chain.iter().map(|it| (it.path.to_string(), it.newest)).collect();
    let seen = Some((1, stage.now.unix_ms));
    assert_eq!(walked, [("dev".to_owned(), seen), ("dev/alice".to_owned(), seen)]);
    // Asking has taken nothing: both places are still free.
    stage.run("dev/alice/one", spec(), &alice());
    stage.run("dev/alice/two", spec(), &alice());
}

#[test]
fn an_image_is_told_once_it_is_stored_under_the_path() {
    let mut stage = Stage::new();
    stage.present(&alice());
    let told = |stage: &Stage| stage.explain("dev/alice/one", &spec(), &alice(), false).image;
    assert_eq!(told(&stage), None);
    let content = (7, spec().image_sha256.0[0], spec().image_size);
    stage.offer("dev/alice/one", content, &alice());
    assert_eq!(told(&stage), None, "it is on its way");
    stage.happen(Event::UploadEnded { image: ImageId(7), stored: true });
    assert_eq!(told(&stage), Some(ImageId(7)));
    assert_eq!(stage.explain("dev/one", &spec(), &dev(), false).image, None, "it is alice's");
}

#[test]
fn all_obstacles_are_listed_and_the_first_is_the_refusal() {
    let mut stage = Stage::new();
    stage.run("dev/alice/one", spec(), &alice());
    stage.run("dev/alice/two", spec(), &alice());
    let wanted =
        Spec { cpus: cpus(&[0, 2, 9]), devices: on_bridge("int"), image_size: 31 << 20, ..spec() };
    let wanted = Spec { memory_mib: 25, ..wanted };
    let told = stage.explain("dev/alice/one", &wanted, &alice(), false);
    // Of alice, of dev, and of the host. The number of machines is no obstacle: the name's own
    // place would be taken over. The image fits neither in its machine nor at alice nor at dev.
    let (of_each, of_host) = (["cpu", "bridge", "quota"], ["cpu"]);
    let expected = [&["name"][..], &of_each, &of_each, &of_host, &["image"; 3]].concat();
    assert_eq!(codes(&told.obstacles), expected, "{:#?}", told.obstacles);
    let refusal = stage.deploy("dev/alice/one", wanted, &alice()).refusal();
    assert_eq!(told.obstacles[0], refusal);
}

#[test]
fn what_is_used_is_told_from_the_own_path_down_only() {
    let mut stage = Stage::new();
    stage.run("dev/bob/one", with_memory(25), &bob());
    stage.present(&alice());
    let of_alice = stage.explain("dev/alice/one", &spec(), &alice(), false);
    let memory: Vec<_> = of_alice.levels.iter().map(|level| level.memory_mib).collect();
    let own = Some(Told { used: 0, left: 20 });
    assert_eq!(
        memory,
        [
            Room { limit: 100, asked: 10, told: None, fits: true },
            Room { limit: 30, asked: 10, told: None, fits: false },
            Room { limit: 20, asked: 10, told: own, fits: true },
        ]
    );
    assert!(of_alice.users.is_empty());
    assert!(!format!("{of_alice:?}").contains("bob"), "{of_alice:?}");

    let of_dev = stage.explain("dev/alice/one", &spec(), &dev(), false);
    let names: Vec<_> = of_dev.users.iter().map(|user| user.name.to_string()).collect();
    assert_eq!(names, ["dev/bob/one"]);
    assert_eq!(of_dev.levels[1].memory_mib.told, Some(Told { used: 25, left: 5 }));
}

#[test]
fn an_image_that_is_there_asks_for_no_room() {
    let mut stage = Stage::new();
    let large = Spec { image_size: 20 << 20, memory_mib: 20, ..spec() };
    let before = stage.explain("dev/alice/one", &large, &alice(), false);
    assert_eq!(before.levels[2].image_bytes.asked, 20 << 20);
    let id = stage.run("dev/alice/one", large.clone(), &alice());
    stage.exited(id, vmm_engine::Exit::Code(0));
    let after = stage.explain("dev/alice/two", &large, &alice(), false);
    assert!(after.is_accepted(), "{:?}", after.obstacles);
    assert_eq!(after.levels[2].image_bytes.asked, 0);
    // The same image is not there for others, whatever they have.
    let others = stage.explain("dev/bob/one", &large, &bob(), false);
    assert_eq!(codes(&others.obstacles), ["image"]);
}

#[test]
fn a_chain_that_is_refused_is_explained_as_far_as_it_goes() {
    let mut stage = Stage::new();
    stage.present(&[renewed(&dev()[0], 1, 10)]);
    let told = stage.explain("dev/one", &with_memory(11), &dev(), false);
    assert_eq!(codes(&told.obstacles), ["stale", "quota"]);
    assert_eq!(told.chain[0].generation, 1);
    assert_eq!(told.chain[0].newest, Some((2, stage.now.unix_ms)));

    let outside = stage.explain("other/one", &spec(), &dev(), false);
    assert_eq!(codes(&outside.obstacles), ["stale", "outside"]);
    assert!(outside.levels.is_empty());

    let mut broken = alice();
    broken.remove(0);
    let broken = stage.explain("alice/one", &spec(), &broken, false);
    assert_eq!(broken.obstacles[0], Refusal::BrokenChain);
}

#[test]
fn a_replacement_at_full_quota_is_refused_for_what_it_asks_more() {
    let mut stage = Stage::new();
    stage.run("dev/one", with_memory(10), &dev());
    stage.run("dev/two", with_memory(15), &dev());
    assert!(stage.explain("dev/one", &with_memory(15), &dev(), true).is_accepted());
    let refusal = stage.deploy_as("dev/one", with_memory(20), &dev(), true).refusal();
    assert_eq!(
        refusal.summary(),
        "the limit of delegation \"dev\" is 30 MiB of memory: 25 in use, 10 of it by the machine \
         that would be replaced, so that 15 are left for the new one, which asks for 20; ask for \
         15 or less, or stop another machine first"
    );
    // The share has become smaller than what runs: also a smaller machine has to wait for the end
    // of the one whose place it takes.
    stage.present(&[renewed(&dev()[0], 1, 12)]);
    let smaller = vec![renewed(&dev()[0], 1, 12)];
    let told = stage.explain("dev/one", &with_memory(1), &smaller, true);
    let summaries: Vec<_> = told.obstacles.iter().map(Refusal::summary).collect();
    assert_eq!(
        summaries,
        [
            "the limit of delegation \"dev\" is 1 machine: 2 in use, 1 of it by the machine that \
             would be replaced; until that one has ended the larger of the two counts, which is \
             too much already: stop a machine first",
            "the limit of delegation \"dev\" is 12 MiB of memory: 25 in use, 10 of it by the \
             machine that would be replaced; until that one has ended the larger of the two \
             counts, which is too much already: stop a machine first",
        ]
    );
}

#[test]
fn a_start_is_explained_like_a_deploy() {
    let mut stage = Stage::new();
    let id = stage.run("dev/alice/one", spec(), &alice());
    let running = stage.engine.explain_start(stage.now, &name("dev/alice/one"), &path("dev"));
    assert_eq!(codes(&running.obstacles), ["running"]);
    stage.exited(id, vmm_engine::Exit::Code(0));
    stage.run("dev/bob/one", with_memory(25), &bob());
    let by_dev = stage.engine.explain_start(stage.now, &name("dev/alice/one"), &path("dev"));
    assert_eq!(by_dev.obstacles, [stage.start("dev/alice/one", "dev").refusal()]);
    assert_eq!(by_dev.users.len(), 1);
    let by_alice =
        stage.engine.explain_start(stage.now, &name("dev/alice/one"), &path("dev/alice"));
    assert_eq!(by_alice.obstacles, [stage.start("dev/alice/one", "dev/alice").refusal()]);
    assert!(!format!("{by_alice:?}").contains("bob"), "{by_alice:?}");
    let nobody = stage.engine.explain_start(stage.now, &name("dev/alice/two"), &path("dev"));
    assert_eq!(codes(&nobody.obstacles), ["not-found"]);
}
