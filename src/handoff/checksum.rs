//! The checksum of a document's text, in a comment behind its first line: to a YAML reader it is not there. It covers
//! einhorn's part as well as ours, for one that is wrong but plausible would be worse than none.

const BEGIN: &str = "---\n";
const LABEL: &str = "# crc32 ";

/// The polynomial of Ethernet and zip, with its bits the other way round.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// What a text says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handoff) enum Verdict {
    Intact,
    Damaged,
    /// It has no checksum, as Ruby's documents have none.
    Silent,
}

/// The document with its checksum. Asserts that it begins as our writer begins every collection.
pub(in crate::handoff) fn seal(document: &str) -> String {
    let body = document.strip_prefix(BEGIN);
    assert!(body.is_some(), "a document begins with ---");
    let body = body.unwrap_or_default();
    format!("{BEGIN}{LABEL}{:08x}\n{body}", crc32(body.as_bytes()))
}

pub(in crate::handoff) fn verify(text: &str) -> Verdict {
    let Some(rest) = text.strip_prefix(BEGIN).and_then(|rest| rest.strip_prefix(LABEL)) else {
        return Verdict::Silent;
    };
    let Some((digits, body)) = rest.split_once('\n') else { return Verdict::Damaged };
    if digits == format!("{:08x}", crc32(body.as_bytes())) { Verdict::Intact } else { Verdict::Damaged }
}

/// As in Ethernet and zip.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut sum: u32 = !0;
    for byte in bytes {
        sum = sum >> 8 ^ TABLE[(sum as u8 ^ byte) as usize];
    }
    !sum
}

/// What each byte does to the sum.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_the_standard_crc32() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn a_sealed_text_is_intact_and_another_is_not() {
        let sealed = seal("---\n:state: 1\n");
        assert_eq!(sealed.lines().nth(2), Some(":state: 1"));
        assert_eq!(verify(&sealed), Verdict::Intact);
        assert_eq!(verify(&sealed.replace(": 1", ": 2")), Verdict::Damaged);
        assert_eq!(verify(&sealed[..sealed.len() - 1]), Verdict::Damaged);
        assert_eq!(verify("---\n:state: 1\n"), Verdict::Silent);
    }
}
