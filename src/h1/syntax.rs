//! The small pieces of HTTP's grammar that several parts share.

/// RFC 9110, 5.6.2: `tchar`, the bytes of a token.
static TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");

/// A table that admits letters, digits and `others`.
pub(super) const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
}

/// Whether `byte` may be part of a token.
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// RFC 9110, 5.6.2: `token = 1*tchar`.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

/// RFC 9110, 5.5: `field-vchar`, SP and HTAB, the bytes of a field value. Bytes above 127 are
/// opaque data ("obs-text").
pub(super) fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Where `byte` first is in a text that is short for the most part: below 16 bytes, `memchr` takes
/// longer to choose its instructions than this to search.
pub(super) fn find(byte: u8, text: &[u8]) -> Option<usize> {
    if text.len() < 16 {
        text.iter().position(|candidate| *candidate == byte)
    } else {
        memchr::memchr(byte, text)
    }
}

/// RFC 9110, 5.6.3: white space within a line.
pub(super) fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `text` without the white space around it.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_white_space(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_white_space(*last)
    {
        text = rest;
    }
    text
}

/// RFC 9110, 5.6.1: the elements of a comma-separated list, empty ones included.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// `1*DIGIT` as a number; `None` for anything else, a sign, and what exceeds 64 bits.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_of_tchars_and_never_empty() {
        let tchars: Vec<u8> = (0..=255).filter(|byte| is_token_byte(*byte)).collect();
        let expected =
            b"!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~";
        assert_eq!(tchars, expected);
        assert!(!is_token(b""));
    }

    #[test]
    fn a_byte_is_found_where_it_is_first() {
        for length in [1, 2, 15, 16, 40] {
            for at in 0..length {
                let mut text = vec![b'a'; length];
                text[at..].fill(b'b');
                assert_eq!((find(b'b', &text), find(b'c', &text)), (Some(at), None));
            }
        }
        assert_eq!(find(b'a', b""), None);
    }

    #[test]
    fn a_list_keeps_its_empty_elements() {
        let list: Vec<&[u8]> = elements(b" a,, b\t,").collect();
        assert_eq!(list, [&b"a"[..], b"", b"b", b""]);
    }

    #[test]
    fn a_decimal_has_digits_only_and_fits() {
        let table: [(&[u8], Option<u64>); 10] = [
            (b"0", Some(0)),
            (b"00042", Some(42)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"", None),
            (b"+1", None),
            (b"-1", None),
            (b"0x1", None),
            (b"1 ", None),
            (b"1_0", None),
        ];
        for (text, expected) in table {
            assert_eq!(decimal(text), expected, "{text:?}");
        }
    }
}
