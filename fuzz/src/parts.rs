//! Inputs of several parts. A part begins with a line `@@name`; what stands before the first such line is a part without a name. No
//! lengths are written, so that whatever is inserted or removed within one part leaves the others what they are.

/// The parts of an input, in order, each with its name. The line feed before the next part's line is not of a part.
pub fn parts(input: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut parts = Vec::new();
    let (mut name, mut rest): (&[u8], _) = (&[], input);
    if let Some(named) = input.strip_prefix(b"@@") {
        (name, rest) = line(named);
    }
    while let Some(at) = rest.windows(3).position(|window| window == b"\n@@") {
        parts.push((name, &rest[..at]));
        (name, rest) = line(&rest[at + 3..]);
    }
    parts.push((name, rest));
    parts
}

/// The first part of a name.
pub fn part<'a>(parts: &[(&[u8], &'a [u8])], name: &str) -> Option<&'a [u8]> {
    let found = parts.iter().find(|(of, _)| *of == name.as_bytes());
    found.map(|(_, content)| *content)
}

/// A line, and what follows it.
fn line(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[]),
    }
}
