//! Senders at the same time: no letter is lost but those that were refused, and none is damaged.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::AtomicU64;

use perfmon_core::capture::mailbox::{Header, Letter, Mailbox, WORDS};
use perfmon_core::capture::table::Key;

fn letter(database: u32, text: usize, json: usize) -> Letter {
    Letter {
        statement: Key::new(7, database, 10, 1),
        counted_as: Key::new(8, database, 10, 1),
        plan: 99,
        at: 1_000,
        us: 12,
        constants: true,
        text: (0..text).map(|i| i as u8).collect(),
        json: (0..json).map(|i| (i / 3) as u8).collect(),
    }
}

#[test]
fn many_senders_lose_nothing() {
    let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
    let header = Header::default();
    let mailbox = Mailbox::new(&header, &words);
    let sent: u64 = std::thread::scope(|scope| {
        let send = |seed: usize| {
            let sent = (0..300)
                .filter(|i| mailbox.send(&letter(seed as u32, (i * 37 + seed) % 9000, i % 50)));
            sent.count() as u64
        };
        let all: Vec<_> = (1..5).map(|seed| scope.spawn(move || send(seed))).collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    });
    let letters = mailbox.letters(None);
    assert!(sent > 300);
    assert_eq!((letters.len() as u64, mailbox.post().dropped), (sent, 1200 - sent));
    for delivered in &letters {
        let whole = letter(
            delivered.letter.statement.database(),
            delivered.letter.text.len(),
            delivered.letter.json.len(),
        );
        assert_eq!(delivered.letter, whole);
        assert!(mailbox.remove(delivered.place));
    }
    assert!(mailbox.is_empty());
}
