//! Numbers as Psych 4.0.4 reads them in plain scalars (bases 2, 8, 10, 16 and 60, `_` and `,` between digits), and
//! floats as Ruby writes them.

use crate::yaml::plain::Plain;
use crate::yaml::value::Value;

/// The number that the text spells, if Psych would try to read it as one. It raises an exception at `0x_` and `.e+5`.
pub(super) fn parse(text: &str) -> Option<Plain> {
    parse_base_60(text).or_else(|| parse_float(text)).or_else(|| parse_int(text))
}

fn sign_and_rest(text: &str) -> (&str, &str) {
    match text.as_bytes().first() {
        Some(b'+') => ("", &text[1..]),
        Some(b'-') => ("-", &text[1..]),
        Some(_) | None => ("", text),
    }
}

/// The longest beginning made of these characters, and the rest.
fn span(text: &str, is_part: impl Fn(u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().take_while(|byte| is_part(*byte)).count())
}

fn without(text: &str, separators: &[char]) -> String {
    text.chars().filter(|c| !separators.contains(c)).collect()
}

fn parse_int(text: &str) -> Option<Plain> {
    let (sign, body) = sign_and_rest(text);
    let all = |digits: &str, is_digit: fn(&u8) -> bool| {
        !digits.is_empty() && digits.bytes().all(|byte| is_digit(&byte) || byte == b'_' || byte == b',')
    };
    if let Some(digits) = body.strip_prefix("0b").filter(|d| all(d, |byte| matches!(byte, b'0' | b'1'))) {
        return Some(from_radix(sign, digits, 2));
    }
    if let Some(digits) = body.strip_prefix("0x").filter(|d| all(d, u8::is_ascii_hexdigit)) {
        return Some(from_radix(sign, digits, 16));
    }
    if let Some(digits) = body.strip_prefix('0').filter(|d| all(d, |byte| matches!(byte, b'0'..=b'7'))) {
        return Some(if without(digits, &['_', ',']).is_empty() {
            Plain::Value(Value::Int(0))
        } else {
            from_radix(sign, digits, 8)
        });
    }
    is_decimal(body).then(|| from_decimal(sign, &without(body, &['_', ','])))
}

/// `0`, or digits without a leading zero; a separator must stand between two digits.
fn is_decimal(body: &str) -> bool {
    if body == "0" {
        return true;
    }
    let bytes = body.as_bytes();
    let follows = |at: usize, byte: u8| {
        byte.is_ascii_digit() || (matches!(byte, b'_' | b',') && bytes.get(at + 1).is_some_and(u8::is_ascii_digit))
    };
    matches!(bytes.first(), Some(b'1'..=b'9')) && bytes.iter().enumerate().all(|(at, byte)| follows(at, *byte))
}

fn from_radix(sign: &str, digits: &str, radix: u32) -> Plain {
    let digits = without(digits, &['_', ',']);
    if digits.is_empty() {
        return Plain::Ambiguous;
    }
    match i128::from_str_radix(&format!("{sign}{digits}"), radix) {
        Ok(number) => narrowed(number),
        Err(_) => Plain::TooLarge,
    }
}

fn from_decimal(sign: &str, digits: &str) -> Plain {
    let text = format!("{sign}{digits}");
    Plain::Value(text.parse().map_or(Value::BigInt(text), Value::Int))
}

fn narrowed(number: i128) -> Plain {
    Plain::Value(i64::try_from(number).map_or_else(|_| Value::BigInt(number.to_string()), Value::Int))
}

fn float(number: f64) -> Plain {
    Plain::Value(Value::Float(number))
}

fn parse_float(text: &str) -> Option<Plain> {
    let (sign, body) = sign_and_rest(text);
    let (whole, rest) = span(body, |byte| byte.is_ascii_digit() || matches!(byte, b'_' | b','));
    if !whole.is_empty() && !whole.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (decimals, rest) = span(rest.strip_prefix('.')?, |byte| byte.is_ascii_digit());
    if !rest.is_empty() && !is_exponent(rest) {
        return None;
    }
    let whole = without(whole, &['_', ',']);
    if whole.is_empty() && decimals.is_empty() {
        // A lone point is a string; with an exponent it is what Ruby's Float() refuses.
        return (!rest.is_empty()).then_some(Plain::Ambiguous);
    }
    format!("{sign}{whole}.{decimals}{rest}").parse().ok().map(float)
}

/// `e+5`: Psych wants the sign.
fn is_exponent(text: &str) -> bool {
    let Some(signed) = text.strip_prefix(['e', 'E']) else { return false };
    let Some(digits) = signed.strip_prefix(['+', '-']) else { return false };
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// `1:30` and `1:30:15`, the last part with decimals or without. Psych counts the first part in 3600 either way, and adds
/// the others even when the first is negative.
fn parse_base_60(text: &str) -> Option<Plain> {
    let parts: Vec<&str> = text.splitn(4, ':').collect();
    let (first, others) = parts.split_first()?;
    if !(1..=2).contains(&others.len()) || !is_leading_part(first) {
        return None;
    }
    let (last, middle) = others.split_last()?;
    let (last_whole, decimals) = last.split_once('.').map_or((*last, None), |(whole, rest)| (whole, Some(rest)));
    if !middle.iter().chain([&last_whole]).all(|part| is_sixtieth(part)) {
        return None;
    }
    let Some(decimals) = decimals else { return Some(sum_of_ints(&parts)) };
    if !decimals.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') {
        return None;
    }
    let places = [3600.0, 60.0, 1.0];
    Some(float(parts.iter().zip(places).map(|(part, place)| leading_float(part) * place).sum()))
}

fn is_leading_part(text: &str) -> bool {
    let body = sign_and_rest(text).1;
    body.starts_with(|c: char| c.is_ascii_digit()) && body.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

fn is_sixtieth(text: &str) -> bool {
    matches!(text.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9'])
}

fn sum_of_ints(parts: &[&str]) -> Plain {
    let sum = parts.iter().zip([3600_i128, 60, 1]).try_fold(0_i128, |sum, (part, place)| {
        let number: i128 = leading_int(part).parse().ok()?;
        sum.checked_add(number.checked_mul(place)?)
    });
    sum.map_or(Plain::TooLarge, narrowed)
}

/// What Ruby's `to_i` reads: digits with single underscores between, up to the first thing else.
fn leading_int(text: &str) -> String {
    let (sign, body) = sign_and_rest(text);
    format!("{sign}{}", leading_digits(body).0)
}

fn leading_float(text: &str) -> f64 {
    let (sign, body) = sign_and_rest(text);
    let (whole, rest) = leading_digits(body);
    let decimals = rest.strip_prefix('.').map(|rest| leading_digits(rest).0).unwrap_or_default();
    format!("{sign}{whole}.{decimals}0").parse().unwrap_or_default()
}

fn leading_digits(text: &str) -> (String, &str) {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let is_separator = |at: usize| bytes[at] == b'_' && at > 0 && is_digit(at - 1) && is_digit(at + 1);
    let end = (0..bytes.len()).find(|at| !is_digit(*at) && !is_separator(*at)).unwrap_or(bytes.len());
    (without(&text[..end], &['_']), &text[end..])
}

/// A float as Ruby's `to_s` gives it: the shortest digits, with an exponent below 0.0001, and from 1.0e+15 on unless there
/// are digits behind the point. `NaN` and `Infinity` are spelled as Ruby spells them, not as YAML does.
pub(super) fn ruby_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number < 0.0 { "-Infinity".into() } else { "Infinity".into() };
    }
    let (digits, exponent) = shortest_digits(number.abs());
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let is_whole = i32::try_from(digits.len()).is_ok_and(|count| count <= exponent + 1);
    let size = match usize::try_from(exponent) {
        Ok(before_point) if is_whole && exponent < 15 => format!("{digits:0<width$}.0", width = before_point + 1),
        Ok(before_point) if !is_whole => format!("{}.{}", &digits[..=before_point], &digits[before_point + 1..]),
        Err(_) if exponent >= -4 => format!("0.{}{digits}", "0".repeat((-exponent - 1) as usize)),
        Ok(_) | Err(_) => with_exponent(&digits, exponent),
    };
    format!("{sign}{size}")
}

/// The fewest digits that read back as the number, and the power of ten of the first. Of two candidates as near, Ruby
/// takes the even one and the standard library the greater, so the rounding is done again.
fn shortest_digits(number: f64) -> (String, i32) {
    let shortest = format!("{number:e}");
    let decimals = shortest.split('e').next().and_then(|digits| digits.split_once('.')).map_or(0, |(_, d)| d.len());
    let rounded = format!("{number:.decimals$e}");
    let text = if rounded.parse() == Ok(number) { rounded } else { shortest };
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (digits.replace('.', ""), exponent.parse().unwrap_or_default())
}

fn with_exponent(digits: &str, exponent: i32) -> String {
    let (first, others) = digits.split_at(1);
    let others = if others.is_empty() { "0" } else { others };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}.{others}e{sign}{:02}", exponent.abs())
}
