//! Rule 10: who may use which image, and how much room they take.

use vmm_engine::{Answer, Effect, Event, Exit, ImageId, Need, PARKED_MS, Refusal, Spec};
use vmm_proto::id::{Digest, MachineId};

use crate::stage::*;

const MIB: u32 = 1 << 20;

#[test]
fn an_image_is_uploaded_once_and_then_known_under_its_path() {
    let mut stage = Stage::new();
    let first = stage.offer("dev/one", (1, 7, MIB), &dev());
    assert_eq!(first.answer(), Some(Ok(Answer::Upload(ImageId(1)))));
    assert_eq!(stage.engine.image_room(&path("dev")), u64::from(MIB));
    stage.happen(Event::UploadEnded { image: ImageId(1), stored: true });
    let again = stage.offer("dev/two", (2, 7, MIB), &dev());
    assert_eq!(again.answer(), Some(Ok(Answer::Have(ImageId(1)))));
    assert_eq!(stage.engine.image_room(&path("dev")), u64::from(MIB));
}

#[test]
fn what_others_have_is_not_told() {
    let mut stage = Stage::new();
    stage.store("dev/alice/one", &spec(), &alice());
    // Neither beside, nor above, nor another size under the same digest.
    for (name, links) in [("dev/bob/one", bob()), ("dev/one", dev())] {
        let fresh = stage.count();
        let offer = stage.offer(name, (fresh, 1, MIB), &links);
        assert_eq!(offer.answer(), Some(Ok(Answer::Upload(ImageId(fresh)))));
    }
    let offer = stage.offer("dev/alice/one", (5, 1, MIB + 1), &alice());
    assert_eq!(offer.answer(), Some(Ok(Answer::Upload(ImageId(5)))));
}

#[test]
fn a_machine_runs_only_an_image_that_is_stored_under_its_path() {
    let mut stage = Stage::new();
    let image = stage.store("dev/bob/one", &spec(), &bob()).unwrap();
    stage.offer("dev/alice/two", (8, 8, MIB), &alice());
    for wrong in [
        Spec { image, ..spec() },
        Spec { image: ImageId(99), ..spec() },
        // its upload has not ended
        Spec { image: ImageId(8), image_sha256: Digest([8; 32]), ..spec() },
    ] {
        let asked = stage.ask(|token| Event::Deploy {
            token,
            id: MachineId([1; 16]),
            name: name("dev/alice/one"),
            spec: wrong,
            chain: chain(&alice()),
            replace: false,
            probation_ms: 0,
        });
        assert_eq!(
            asked.refusal().to_string(),
            "the image of \"dev/alice/one\" is not stored under its path; offer it again"
        );
    }
}

#[test]
fn nothing_is_uploaded_for_a_doomed_deploy() {
    let mut stage = Stage::new();
    stage.run("dev/one", with_memory(25), &dev());
    let offer = stage.offer("dev/two", (1, 7, MIB), &dev());
    assert_eq!(offer.refusal().code(), "quota");
    stage.present(&[renewed(&dev()[0], 2, 30)]);
    assert_eq!(stage.offer("dev/two", (1, 7, MIB), &dev()).refusal().code(), "stale");
    assert_eq!(records(&stage.offer("dev/two", (1, 7, MIB), &dev()).effects), ["refused"]);
}

#[test]
fn cached_images_fit_in_the_memory_of_every_delegation_and_of_the_host() {
    let mut stage = Stage::new();
    let exactly = stage.offer("dev/alice/one", (1, 1, 20 * MIB), &alice());
    assert!(exactly.answer().unwrap().is_ok());
    let refusal = stage.offer("dev/alice/one", (2, 2, 1), &alice()).refusal();
    assert_eq!(
        refusal.to_string(),
        "cached images below delegation \"dev/alice\" may have 20971520 bytes together: 20971520 \
         are in use, 0 left, and this one has 1; destroy machines that are not needed any more, \
         also ended ones"
    );
    let refusal = stage.offer("dev/bob/one", (3, 3, 10 * MIB + 1), &bob()).refusal();
    assert_eq!(
        refusal.to_string(),
        "cached images below delegation \"dev\" may have 31457280 bytes together, and 10485761 \
         more do not fit now; ask whoever manages it"
    );
    let host = stage.offer("one", (4, 4, 80 * MIB + 1), &[]).refusal();
    assert_eq!(host.code(), "image");
}

#[test]
fn a_failed_upload_gives_its_room_back() {
    let mut stage = Stage::new();
    stage.offer("dev/one", (1, 7, 30 * MIB), &dev());
    let effects = stage.happen(Event::UploadEnded { image: ImageId(1), stored: false });
    assert!(effects.is_empty());
    assert_eq!(stage.engine.image_room(&path("")), 0);
    assert!(stage.offer("dev/one", (2, 8, 30 * MIB), &dev()).answer().unwrap().is_ok());
}

#[test]
fn who_offers_what_is_being_uploaded_waits_for_that() {
    let mut stage = Stage::new();
    stage.offer("dev/one", (1, 7, MIB), &dev());
    let second = stage.offer("dev/two", (2, 7, MIB), &dev());
    let third = stage.offer("dev/one", (3, 7, MIB), &dev());
    assert_eq!((second.answer(), third.answer()), (None, None));
    // The first upload fails: the next one in line has its turn.
    let effects = stage.happen(Event::UploadEnded { image: ImageId(1), stored: false });
    assert_eq!(answer(&effects, second.token), Some(Ok(Answer::Upload(ImageId(2)))));
    assert_eq!(answer(&effects, third.token), None);
    assert_eq!(stage.engine.image_room(&path("dev")), u64::from(MIB));
    let effects = stage.happen(Event::UploadEnded { image: ImageId(2), stored: true });
    assert_eq!(answer(&effects, third.token), Some(Ok(Answer::Have(ImageId(2)))));
}

#[test]
fn an_image_stays_while_a_session_or_a_listed_machine_needs_it() {
    let mut stage = Stage::new();
    let image = stage.store("dev/one", &spec(), &dev()).unwrap();
    let id = stage.run("dev/one", spec(), &dev());
    assert_eq!(drops(&stage.happen(Event::ReleaseImage { image })), []);
    assert_eq!(drops(&stage.exited(id, Exit::Code(0))), []);
    let destroy = stage.destroy("dev/one");
    assert_eq!(drops(&destroy.effects), [image]);
    assert_eq!(stage.engine.image_room(&path("")), 0);
}

#[test]
fn an_upload_that_nobody_waits_for_any_more_is_dropped_at_its_end() {
    let mut stage = Stage::new();
    stage.offer("dev/one", (1, 7, MIB), &dev());
    assert!(stage.happen(Event::ReleaseImage { image: ImageId(1) }).is_empty());
    let effects = stage.happen(Event::UploadEnded { image: ImageId(1), stored: true });
    assert_eq!(drops(&effects), [ImageId(1)]);
}

#[test]
fn numbers_that_are_taken_are_refused() {
    let mut stage = Stage::new();
    stage.offer("dev/one", (1, 7, MIB), &dev());
    assert_eq!(stage.offer("dev/one", (1, 8, MIB), &dev()).refusal().code(), "internal");
    let id = stage.run("dev/one", spec(), &dev());
    let image = stage.store("dev/two", &spec(), &dev()).unwrap();
    let asked = stage.ask(|token| Event::Deploy {
        token,
        id,
        name: name("dev/two"),
        spec: Spec { image, ..spec() },
        chain: chain(&dev()),
        replace: false,
        probation_ms: 0,
    });
    assert_eq!(asked.refusal().code(), "internal");
}

/// An upload of image 5 (3 MiB) for `dev/one` into file `fresh`; the file that is to be written.
fn upload(stage: &mut Stage, fresh: u64) -> Option<Result<Answer, Refusal>> {
    stage.offer("dev/one", (fresh, 5, 3 << 20), &dev()).answer()
}

fn breaks(stage: &mut Stage, image: u64) -> Vec<Effect> {
    let image = ImageId(image);
    let mut effects = stage.happen(Event::UploadBroke { image });
    effects.extend(stage.happen(Event::ReleaseImage { image }));
    effects
}

#[test]
fn an_upload_that_broke_off_goes_on_in_the_same_file_and_keeps_its_room() {
    let mut stage = Stage::new();
    assert_eq!(upload(&mut stage, 1), Some(Ok(Answer::Upload(ImageId(1)))));
    assert_eq!(breaks(&mut stage, 1), []);
    assert_eq!(stage.engine.image_room(&path("dev")), 3 << 20);
    assert_eq!(upload(&mut stage, 2), Some(Ok(Answer::Upload(ImageId(1)))));
    stage.happen(Event::UploadEnded { image: ImageId(1), stored: true });
    assert_eq!(upload(&mut stage, 3), Some(Ok(Answer::Have(ImageId(1)))));
}

#[test]
fn who_waits_for_an_upload_that_breaks_off_goes_on_with_it() {
    let mut stage = Stage::new();
    upload(&mut stage, 1);
    let waits = stage.offer("dev/one", (2, 5, 3 << 20), &dev());
    assert_eq!(waits.answer(), None);
    let effects = breaks(&mut stage, 1);
    assert_eq!(answer(&effects, waits.token), Some(Ok(Answer::Upload(ImageId(1)))));
}

#[test]
fn a_part_that_nobody_goes_on_with_is_dropped_after_a_while() {
    let mut stage = Stage::new();
    upload(&mut stage, 1);
    breaks(&mut stage, 1);
    assert_eq!(stage.engine.next_wake(), Some(PARKED_MS));
    assert_eq!(drops(&stage.pass(PARKED_MS - 1)), []);
    assert_eq!(drops(&stage.pass(1)), [ImageId(1)]);
    assert_eq!(stage.engine.image_room(&path("dev")), 0);
    assert_eq!(upload(&mut stage, 2), Some(Ok(Answer::Upload(ImageId(2)))));
}

#[test]
fn an_image_larger_than_its_machine_or_one_too_many_is_not_even_begun() {
    let mut stage = Stage::new();
    let Spec { memory_mib, cpus, devices, arguments, .. } = spec();
    let large = stage.ask(|token| Event::OfferImage {
        token,
        fresh: ImageId(1),
        sha256: Digest([5; 32]),
        size: (memory_mib << 20) + 1,
        name: name("dev/one"),
        need: Need { memory_mib, cpus, devices, arguments },
        chain: chain(&dev()),
        replace: false,
    });
    assert!(large.refusal().to_string().contains("more than the 10 MiB"));
    for number in 1..=6 {
        let asked = stage.offer("dev/one", (u64::from(number), number, 1), &dev());
        assert!(asked.answer().unwrap().is_ok(), "2 machines, 2 that have ended, 2 on their way");
    }
    let asked = stage.offer("dev/one", (7, 7, 1), &dev());
    assert_eq!(asked.refusal(), Refusal::ImageCount { path: path("dev"), limit: 6 });
}
