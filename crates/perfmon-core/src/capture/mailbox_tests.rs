use super::*;
use proptest::prelude::*;

struct Memory {
    header: Header,
    words: Vec<AtomicU64>,
}

impl Memory {
    fn new() -> Self {
        let words = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        Self { header: Header::default(), words }
    }

    fn mailbox(&self) -> Mailbox<'_> {
        Mailbox::new(&self.header, &self.words)
    }
}

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
fn letters_arrive_as_they_were_sent() {
    let memory = Memory::new();
    let mailbox = memory.mailbox();
    assert!(mailbox.is_empty());
    let sent = [letter(1, 0, 0), letter(2, 13, 1), letter(1, MAX_PLAN - 5, 5)];
    assert!(sent.iter().all(|letter| mailbox.send(letter)));
    let got = mailbox.letters(None);
    assert!(got.iter().map(|d| &d.letter).eq(&sent));
    let waiting = mailbox.waiting(Some(1));
    assert_eq!(waiting.len(), 2);
    assert!(waiting.iter().all(|w| (w.statement, w.plan) == (Key::new(7, 1, 10, 1), 99)));
    let (at, number) = waiting[0].place;
    assert_eq!(mailbox.letter((at, number)).unwrap().letter, sent[0]);
    assert_eq!(mailbox.letter((at, number + 1)), None, "another one in its place");
    let ones = mailbox.letters(Some(1));
    assert_eq!(ones.len(), 2);
    assert!(ones.iter().all(|d| mailbox.remove(d.place)));
    assert!(ones.iter().all(|d| !mailbox.remove(d.place)), "only once");
    assert_eq!(mailbox.letters(None).len(), 1);
    assert_eq!(mailbox.expire(1_000), []);
    assert_eq!(mailbox.expire(1_001), [Key::new(8, 2, 10, 1)]);
    assert!(mailbox.is_empty());
    assert_eq!((mailbox.post().sent, mailbox.post().expired), (3, 1));
}

#[test]
fn what_finds_no_room_is_dropped_and_counted() {
    let memory = Memory::new();
    let mailbox = memory.mailbox();
    let big = letter(1, MAX_PLAN, 0);
    let fitted = (0..100).filter(|_| mailbox.send(&big)).count();
    assert_eq!(fitted, 48, "three of seventeen chunks in each group of 64");
    assert_eq!(mailbox.post().dropped, 52);
    let small = letter(1, 100, 100);
    let more = (0..1000).filter(|_| mailbox.send(&small)).count();
    assert_eq!(more, CHUNKS - 48 * 17);
    for delivered in mailbox.letters(None) {
        assert!(mailbox.remove(delivered.place));
    }
    assert!(mailbox.is_empty());
    assert!(mailbox.send(&big));
}

#[test]
fn a_place_that_was_used_again_is_not_taken_out() {
    let memory = Memory::new();
    let mailbox = memory.mailbox();
    mailbox.send(&letter(1, 1, 1));
    let old = mailbox.letters(None)[0].place;
    assert!(mailbox.remove(old));
    mailbox.send(&letter(1, 2, 2));
    assert!(!mailbox.remove(old));
    assert_eq!(mailbox.letters(None).len(), 1);
}

#[test]
fn a_plan_that_is_too_long_is_cut() {
    let mut fits = letter(1, MAX_PLAN - 10, 10);
    let before = fits.clone();
    fits.fit();
    assert_eq!(fits, before);
    let mut no_json = letter(1, MAX_PLAN, 1);
    no_json.fit();
    assert_eq!((no_json.text.len(), no_json.json.len()), (MAX_PLAN, 0));
    let mut cut = letter(1, 3 * MAX_PLAN, 1);
    cut.fit();
    assert!(cut.text.len() <= MAX_PLAN && cut.text.len() > MAX_PLAN - 600);
    assert!(cut.text.ends_with(b"\n... (196608 bytes in all)"));
}

#[test]
fn printing_is_held_back() {
    let memory = Memory::new();
    let mailbox = memory.mailbox();
    assert!(mailbox.may_print(1_000_000, 20));
    assert!(!mailbox.may_print(1_000_019, 20));
    assert!(mailbox.may_print(1_000_020, 20));
    assert!(!mailbox.may_print(999_000, 20), "a clock that went back a little");
    assert_eq!(mailbox.post().held_back, 2);
    assert!(mailbox.may_print(200_000_000, 20));
    assert!(mailbox.may_print(1_000_000, 20), "one that went back a lot");
}

proptest! {
    #[test]
    fn runs_are_free_and_within(taken: u64, chunks in 1usize..=64) {
        match run(taken, chunks) {
            Some((at, mask)) => {
                prop_assert_eq!(taken & mask, 0);
                prop_assert_eq!(mask.count_ones() as usize, chunks);
                prop_assert!(at + chunks <= 64);
            }
            None => {
                let free = |at: usize| (at..at + chunks).all(|bit| taken >> bit & 1 == 0);
                prop_assert!(!(0..=64 - chunks).any(free));
            }
        }
    }
}
