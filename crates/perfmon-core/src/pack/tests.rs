use super::block::{HOLES, choose_width};
use super::*;
use proptest::prelude::*;

fn back(values: &[u64]) -> Vec<u64> {
    let mut out = vec![7];
    unpack(&pack(values), values.len(), &mut out).unwrap();
    out
}

#[test]
fn edges_survive() {
    assert_eq!(pack(&[]), [CODEC]);
    assert_eq!(back(&[]), Vec::<u64>::new());
    for n in [1, 7, 8, 9, 127, 128, 129, 256, 1000] {
        for bits in 0..=64u32 {
            let top = if bits == 0 { 0 } else { u64::MAX >> (64 - bits) };
            let values: Vec<u64> = (0..n).map(|i| top.saturating_sub(i % 3)).collect();
            assert_eq!(back(&values), values, "{n} values of {bits} bits");
        }
    }
}

#[test]
fn a_quiet_column_is_small() {
    assert_eq!(pack(&[0; 5000]).len(), 81);
    let mut values = [0u64; 128];
    values[5] = u64::MAX;
    values[127] = 1;
    assert_eq!(back(&values), values);
    assert!(pack(&values).len() < 20);
}

#[test]
fn dense_ids_cost_almost_nothing() {
    let ids: Vec<u32> = (1..=5000).collect();
    assert!(pack_ids(&ids).len() < 90);
}

#[test]
fn damage_is_told() {
    let mut out = Vec::new();
    let mut ids = Vec::new();
    assert!(unpack(&[], 0, &mut out).is_err());
    let said = unpack(&[3, 0, 0], 1, &mut out).unwrap_err().to_string();
    assert!(said.contains("codec 3"), "{said}");
    assert!(unpack(&[CODEC, HOLES, 0, 1], 1, &mut out).is_err(), "the first codec has no holes");
    assert_eq!((unpack(&[WITH_HOLES, HOLES, 0, 1], 1, &mut out), &out[..]), (Ok(()), &[1][..]));
    assert!(unpack(&[WITH_HOLES, HOLES, 0, 3], 1, &mut out).is_err());
    assert!(unpack(&[WITH_HOLES, HOLES | 57, 0, 1], 1, &mut out).is_err());
    assert!(unpack(&[WITH_HOLES, HOLES, 2, 1, 0, 1, 0, 1], 1, &mut out).is_err());
    assert!(unpack(&[WITH_HOLES, HOLES, 0], 1, &mut out).is_err());
    assert!(unpack(&[CODEC], usize::MAX, &mut out).is_err());
    assert!(unpack(&[CODEC, 57, 0], 1, &mut out).is_err());
    assert!(unpack(&[CODEC, 0, 2, 0, 1, 0, 1], 1, &mut out).is_err());
    assert!(unpack(&[CODEC, 0, 1, 9, 1], 1, &mut out).is_err());
    assert!(unpack(&pack(&[300, 300]), 1, &mut out).is_err() && out.is_empty());
    assert!(unpack(&pack(&[300]), 2, &mut out).is_err() && out.is_empty());
    assert!(unpack_one(&pack(&[1]), 1, 1).is_err());
    assert!(unpack_ids(&pack(&[u64::from(u32::MAX), 0]), 2, &mut ids).is_err());
    assert!(ids.is_empty());
}

/// What was written before there were holes is read for ever.
#[test]
fn what_was_written_is_read() {
    let mut out = Vec::new();
    let first = [CODEC, 3, 1, 0b0000_1010, 0, 2, 1];
    unpack(&first, 3, &mut out).unwrap();
    assert_eq!(out, [2, 1, 8]);
}

#[test]
fn zeros_between_are_left_out() {
    let values: Vec<u64> = (0..5000).map(|i| if i % 5 < 3 { 0 } else { 900 + i % 100 }).collect();
    let packed = pack(&values);
    assert_eq!((packed[0], back(&values)), (WITH_HOLES, values.clone()));
    // A bit for each, and ten for two of five.
    assert!(packed.len() < 5000 / 8 + 2000 * 10 / 8 + 150, "{} bytes", packed.len());
    let ones: Vec<u64> = (0..128).map(|i| i % 2).collect();
    assert_eq!((pack(&ones).len(), back(&ones)), (1 + 2 + 16, ones));
    for n in [1, 2, 7, 9, 127, 128, 129, 200] {
        for bits in 1..=64u32 {
            let top = u64::MAX >> (64 - bits);
            let values: Vec<u64> =
                (0..n).map(|i| if i % 3 == 0 { top - i % 2 } else { 0 }).collect();
            assert_eq!(back(&values), values, "{n} values of {bits} bits");
        }
    }
}

fn value() -> impl Strategy<Value = u64> {
    (0..=64u32, any::<u64>()).prop_map(|(bits, v)| if bits == 0 { 0 } else { v >> (64 - bits) })
}

fn column() -> impl Strategy<Value = Vec<u64>> {
    prop_oneof![
        prop::collection::vec(value(), 0..400),
        (0..30u32, prop::collection::vec(value(), 0..400)).prop_map(|(keep, values)| {
            values.iter().map(|v| if v % 17 == 0 { *v } else { v & ((1 << keep) - 1) }).collect()
        }),
        (1..5u64, 1..30u32, prop::collection::vec(value(), 0..400)).prop_map(
            |(one_in, keep, values)| {
                values.iter().map(|v| if v % one_in == 0 { v >> (64 - keep) } else { 0 }).collect()
            }
        ),
    ]
}

proptest! {
    #[test]
    fn values_survive(values in column()) {
        prop_assert_eq!(back(&values), values.clone());
        let packed = pack(&values);
        for (i, &v) in values.iter().enumerate().step_by(37) {
            prop_assert_eq!(unpack_one(&packed, values.len(), i).unwrap(), v);
        }
    }

    #[test]
    fn ids_survive(ids in prop::collection::btree_set(any::<u32>(), 0..400), other in any::<u32>()) {
        let ids: Vec<u32> = ids.into_iter().collect();
        let packed = pack_ids(&ids);
        let mut out = vec![3];
        unpack_ids(&packed, ids.len(), &mut out).unwrap();
        prop_assert_eq!(&out, &ids);
        for (i, &id) in ids.iter().enumerate().step_by(19) {
            prop_assert_eq!(find_id(&packed, ids.len(), id).unwrap(), Some(i));
        }
        prop_assert_eq!(find_id(&packed, ids.len(), other).unwrap(), ids.binary_search(&other).ok());
    }

    #[test]
    fn some_of_a_beginning(values in column(), picks in prop::collection::btree_set(0usize..400, 0..9)) {
        let packed = pack(&values);
        let places: Vec<usize> = picks.into_iter().filter(|p| *p < values.len()).collect();
        let expected: Vec<u64> = places.iter().map(|p| values[*p]).collect();
        let mut out = vec![9];
        let needed = unpack_some(&packed, values.len(), &places, &mut out).unwrap();
        prop_assert_eq!(&out, &expected);
        prop_assert_eq!(unpack_some(&packed[..needed], values.len(), &places, &mut out), Ok(needed));
        prop_assert_eq!(&out, &expected);
        let enough = places.last().map_or(0, |p| prefix_len(packed.len(), values.len(), *p));
        prop_assert!(enough <= packed.len());
        // A beginning gives the same, or says that it is too short.
        if unpack_some(&packed[..enough], values.len(), &places, &mut out).is_ok() {
            prop_assert_eq!(&out, &expected);
        }
        if let Some(&last) = places.last() {
            let needed = unpack_until(&packed, values.len(), last, &mut out).unwrap();
            prop_assert!(last < out.len() && values.starts_with(&out));
            prop_assert_eq!(unpack_until(&packed[..needed], values.len(), last, &mut out), Ok(needed));
            if unpack_until(&packed[..enough], values.len(), last, &mut out).is_ok() {
                prop_assert!(last < out.len() && values.starts_with(&out));
            } else {
                prop_assert!(out.is_empty());
            }
        }
        prop_assert!(unpack_until(&packed, values.len(), values.len(), &mut out).is_err());
        let ids: Vec<u32> = places.iter().map(|p| *p as u32 * 3).collect();
        let asked: Vec<u32> = (0..ids.last().map_or(9, |id| id + 9)).collect();
        let mut found = vec![Some(7)];
        find_ids(&pack_ids(&ids), ids.len(), &asked, &mut found).unwrap();
        let wanted: Vec<Option<usize>> = asked.iter().map(|id| ids.binary_search(id).ok()).collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn garbage_never_panics(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300), n in 0usize..500, at in 0usize..600
    ) {
        if let Some(first) = bytes.first_mut() { *first = CODEC + *first % 2; }
        let mut out = Vec::new();
        let mut ids = Vec::new();
        let mut some = Vec::new();
        let _ = unpack_until(&bytes, n, at, &mut some);
        prop_assert!(some.capacity() <= n.max(4));
        let _ = unpack(&bytes, n, &mut out);
        prop_assert!(out.capacity() <= n.max(4));
        if unpack_ids(&bytes, n, &mut ids).is_ok() {
            prop_assert!(ids.windows(2).all(|w| w[0] < w[1]));
        }
        let _ = unpack_one(&bytes, n, at);
        let _ = find_id(&bytes, n, at as u32);
    }

    #[test]
    fn a_cut_or_changed_column_never_panics(
        values in column(), cut in 0usize..4000, flip in 0usize..4000, with in 1u8..
    ) {
        let packed = pack(&values);
        let mut out = Vec::new();
        if cut < packed.len() {
            prop_assert!(unpack(&packed[..cut], values.len(), &mut out).is_err());
            prop_assert!(out.is_empty());
        }
        let mut changed = packed;
        let at = flip % changed.len();
        changed[at] ^= with;
        let _ = unpack(&changed, values.len(), &mut out);
        for n in [0, values.len() / 2, values.len() + 1, values.len() + 200] {
            if n != values.len() {
                let _ = unpack(&changed, n, &mut out);
            }
        }
    }
}

/// What a block takes at a width, counted value by value.
fn bytes_at(block: &[u64], width: usize) -> usize {
    let behind = block.iter().map(|value| value >> width).filter(|high| *high > 0).map(|high| {
        let bits = 64 - high.leading_zeros() as usize;
        1 + bits.div_ceil(7)
    });
    (block.len() * width).div_ceil(8) + behind.sum::<usize>()
}

proptest! {
    #[test]
    fn no_other_width_is_smaller(
        values in proptest::collection::vec((any::<u64>(), 0u32..=64, 0u32..8), 1..=128),
        common in 0u32..=64,
    ) {
        // Most are about as long as each other, some of any length.
        let cut = |value: u64, bits: u32| if bits == 0 { 0 } else { value >> (64 - bits) };
        let block: Vec<u64> = values
            .iter()
            .map(|&(value, bits, which)| cut(value, if which == 0 { bits } else { common }))
            .collect();
        let (width, exceptions, cost) = choose_width(&block);
        let least = (0..=56).map(|width| bytes_at(&block, width)).min().unwrap();
        prop_assert_eq!(cost, least.min(block.len() * 8));
        if width <= 56 {
            prop_assert_eq!(cost, bytes_at(&block, width));
            prop_assert_eq!(exceptions, block.iter().filter(|value| *value >> width > 0).count());
        }
    }
}
