//! Small numbers in few bytes: variable-length integers (LEB128), and measurements in steps of 1/1024.
//!
//! A rollout's measurements are kept to 1/1024 (of a nat, of a cosine), a fifth of a per cent of the differences that a study is
//! about, in a third of the bytes that single precision takes. Everything derived is derived from the kept values.

/// Steps per unit in which measurements are kept.
pub const STEPS_PER_UNIT: f64 = 1024.0;

/// Appends `value`, seven bits a byte, lowest first; the top bit says that more follow.
pub fn push_integer(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Reads integers to the end. `None` when the last one is cut off or one does not fit 64 bits.
pub fn integers(bytes: &[u8]) -> Option<Vec<u64>> {
    let mut values = Vec::with_capacity(bytes.len());
    let (mut value, mut shift) = (0_u64, 0_u32);
    for &byte in bytes {
        let bits = u64::from(byte & 0x7f);
        if shift > 63 || bits.checked_shl(shift).is_none_or(|up| up >> shift != bits) {
            return None;
        }
        value |= bits << shift;
        shift += 7;
        if byte < 0x80 {
            values.push(value);
            (value, shift) = (0, 0);
        }
    }
    (shift == 0).then_some(values)
}

/// Token ids.
pub fn pack_tokens(tokens: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 * tokens.len());
    for &token in tokens {
        push_integer(&mut bytes, token.into());
    }
    bytes
}

/// Token ids; `None` when the bytes are none.
pub fn unpack_tokens(bytes: &[u8]) -> Option<Vec<u32>> {
    let values = integers(bytes)?;
    values.into_iter().map(|v| v.try_into().ok()).collect()
}

/// The nearest kept value. Idempotent.
pub fn kept(value: f32) -> f32 {
    (steps(value) as f64 / STEPS_PER_UNIT) as f32
}

fn steps(value: f32) -> i64 {
    (f64::from(value) * STEPS_PER_UNIT).round() as i64
}

/// Measurements in steps, signed numbers folded as 0, −1, 1, −2, …. With `differences`, each after the first is the difference from
/// the one before it: fewer bytes for series that hardly move. Values must be finite and below 2⁴⁰.
pub fn pack_measurements(values: &[f32], differences: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 * values.len());
    let mut before = 0;
    for &value in values {
        let now = steps(value);
        let number = now - before;
        push_integer(&mut bytes, (number << 1 ^ number >> 63) as u64);
        before = if differences { now } else { 0 };
    }
    bytes
}

/// The inverse of [`pack_measurements`]; `None` when the bytes are none.
pub fn unpack_measurements(bytes: &[u8], differences: bool) -> Option<Vec<f32>> {
    let mut before = 0_i64;
    let unfold = |folded: u64| {
        let number = (folded >> 1) as i64 ^ -((folded & 1) as i64);
        let now = number.checked_add(before)?;
        before = if differences { now } else { 0 };
        Some((now as f64 / STEPS_PER_UNIT) as f32)
    };
    integers(bytes)?.into_iter().map(unfold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_numbers_take_one_byte() {
        assert_eq!(pack_tokens(&[0, 127, 128, 300]), [0, 127, 0x80, 1, 0xac, 2]);
        assert_eq!(
            pack_measurements(&[0.0, 0.0625, -0.0625], false),
            [0, 0x80, 1, 0x7f]
        );
        assert_eq!(pack_measurements(&[0.5, 0.5, 0.501], true), [0x80, 8, 0, 2]);
    }

    #[test]
    fn damaged_bytes_are_no_numbers() {
        assert_eq!(integers(&[0x80]), None);
        assert_eq!(integers(&[0xff; 12]), None);
        let largest = [&[0xff; 9][..], &[1]].concat();
        assert_eq!(integers(&largest), Some(vec![u64::MAX]));
        assert_eq!(integers(&[&[0xff; 9][..], &[2]].concat()), None);
        assert_eq!(unpack_tokens(&largest), None);
    }

    proptest! {
        #[test]
        fn tokens_come_back(tokens in proptest::collection::vec(any::<u32>(), 0..40)) {
            prop_assert_eq!(unpack_tokens(&pack_tokens(&tokens)), Some(tokens));
        }

        #[test]
        fn measurements_come_back_to_a_step(
            values in proptest::collection::vec(-1e6_f32..1e6, 0..40),
            differences: bool,
        ) {
            let read = unpack_measurements(&pack_measurements(&values, differences), differences);
            let kept_values: Vec<f32> = values.iter().map(|&v| kept(v)).collect();
            prop_assert_eq!(read.as_ref(), Some(&kept_values));
            for (&value, &kept_value) in values.iter().zip(&kept_values) {
                prop_assert!((f64::from(value) - f64::from(kept_value)).abs() <= 0.5 / STEPS_PER_UNIT);
                prop_assert_eq!(kept(kept_value), kept_value);
            }
        }
    }
}
