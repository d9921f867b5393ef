//! The kernel tells of changes, and that is soon enough.

use super::*;
use crate::net::news::News;
use crate::poller::{Poller, Token};

const SOON: Duration = Duration::from_secs(20);

/// A host of which the kernel tells, and what waits for that.
fn host() -> Option<(Host, Poller)> {
    let (mut host, poller) = (Host::new()?, Poller::new().unwrap());
    host.networks.listen(&poller);
    assert!(host.networks.news.is_some());
    Some((host, poller))
}

/// Waits for the kernel's word, and does what then is due, a little before it is.
fn word(host: &mut Host, poller: &Poller) {
    let events = poller.wait(Some(Instant::now() + SOON)).unwrap();
    assert!(events.iter().all(|event| event.token == Token::Rules) && !events.is_empty());
    let now = Instant::now();
    host.networks.on_news(poller, now);
    let (due, last) = (host.networks.deadline().unwrap(), host.networks.watch.last);
    let soon = last.map_or(now, |last| now.max(last + REST));
    assert!(due <= soon, "as late as without a word");
    host.networks.on_time(due);
}

/// Of what is done here, too, the kernel tells. That leads to nothing.
fn until_silence(host: &mut Host, poller: &Poller) {
    let changes = host.networks.watch.changes;
    while !is_silent(poller) {
        word(host, poller);
    }
    assert_eq!(host.networks.watch.changes, changes);
}

fn is_silent(poller: &Poller) -> bool {
    poller.wait(Some(Instant::now())).unwrap().is_empty()
}

#[test]
fn what_somebody_has_done_to_filters_is_undone_at_the_kernels_word() {
    let Some((mut host, poller)) = host() else { return };
    let (one, other) = (host.machine(1, None), host.machine(2, None));
    word(&mut host, &poller);
    until_silence(&mut host, &poller);
    let edit = format!("insert rule netdev {} from-guest accept", table(1));
    for order in ["flush ruleset", &edit] {
        nft(order);
        assert_ne!(judged(&one, &other), (false, true), "{order}");
        word(&mut host, &poller);
        assert_eq!(judged(&one, &other), (false, true), "{order}");
        until_silence(&mut host, &poller);
    }
}

#[test]
fn a_word_for_which_there_is_no_room_is_heard_all_the_same() {
    let Some((mut host, poller)) = host() else { return };
    let (one, other) = (host.machine(1, None), host.machine(2, None));
    word(&mut host, &poller);
    let small = News::with_room(1).unwrap();
    poller.forget(host.networks.news.as_ref().unwrap()).unwrap();
    poller.watch(&small, Token::Rules).unwrap();
    host.networks.news = Some(small);
    for number in 0..100 {
        nft(&format!("add table ip theirs{number}"));
    }
    nft("flush ruleset");
    word(&mut host, &poller);
    assert_eq!(judged(&one, &other), (false, true));
    until_silence(&mut host, &poller);
    assert!(host.networks.news.is_some());
}

#[test]
fn one_word_follows_another_after_a_rest() {
    let (begin, mut watch) = (Instant::now(), Watch::default());
    watch.hurry(begin);
    assert_eq!(watch.again, None, "there is nothing to look at");
    watch.again = Some(begin + PAUSE);
    watch.hurry(begin);
    assert_eq!(watch.again, Some(begin));
    (watch.last, watch.again) = (Some(begin), Some(begin + PAUSE));
    watch.hurry(begin + REST / 2);
    assert_eq!(watch.again, Some(begin + REST));
    watch.hurry(begin + 2 * REST);
    assert_eq!(watch.again, Some(begin + REST), "what is due sooner stays so");
}
