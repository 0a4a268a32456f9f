//! Text → tokens with their positions. Knows how words end, are quoted and escaped, and which of them are a field with
//! an operator; does not know what a value means.

use std::ops::Range;

use super::{
    ParseError,
    field::{self, Field, FieldId},
};

/// One piece of a word: a byte that stands for itself, or a wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Byte(u8),
    Star,
    Question,
}

/// What stands between a field and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Is,
    IsNot,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    MatchesNot,
}

/// A word, or one of several alternatives behind a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) units: Vec<Unit>,
    pub(super) at: Range<usize>,
    /// Has quotes or escapes: it is no keyword.
    pub(super) quoted: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    /// A word on its own.
    Word(Value),
    /// `field op value,value…`
    Term {
        field: &'static Field,
        op: Op,
        values: Vec<Value>,
    },
    /// `field~regex`, with the pattern as the regex crate reads it.
    Regex {
        field: &'static Field,
        op: Op,
        pattern: String,
        at: Range<usize>,
    },
}

/// A token and where it stands.
pub(super) type Spanned = (Token, Range<usize>);

pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

/// Whether a word ends before `c`.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '|' | '(' | ')')
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Whether `pattern` behind `~` is read as this pattern without quotes.
    pub(super) fn reads_as_regex(pattern: &str) -> bool {
        let mut lexer = Lexer::new(pattern);
        !pattern.starts_with('"')
            && lexer.regex(FieldId::Path.field()).is_ok_and(|(read, at)| read == pattern && at.end == pattern.len())
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// The next token; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Spanned>, ParseError> {
        self.skip_blanks();
        let start = self.at;
        let Some(c) = self.peek() else { return Ok(None) };
        let token = match c {
            '(' => self.one(Token::Open),
            ')' => self.one(Token::Close),
            '!' => self.one(Token::Not),
            '|' => {
                self.at += 1;
                // As in most languages.
                self.eat("|");
                Token::Or
            }
            _ if self.eat("&&") => Token::And,
            _ => self.term()?,
        };
        Ok(Some((token, start..self.at)))
    }

    fn one(&mut self, token: Token) -> Token {
        self.at += 1;
        token
    }

    fn term(&mut self) -> Result<Token, ParseError> {
        let start = self.at;
        let letters = self.rest().bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        let name = self.rest().get(..letters).unwrap_or_default();
        self.at += letters;
        let known = field::find(name);
        let op = if name.is_empty() { None } else { self.op(known.is_some()) };
        let Some(op) = op else {
            self.at = start;
            return Ok(Token::Word(self.value(None)?));
        };
        let Some(field) = known else {
            let hint = match field::nearest_field(name) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("fields are {}", field::FIELDS.iter().map(|f| f.name).collect::<Vec<_>>().join(", ")),
            };
            let message = format!("there is no field {name}; {hint} (to search for it as text, put it in quotes)");
            return Err(ParseError::new(message, start..start + letters));
        };
        if matches!(op, Op::Matches | Op::MatchesNot) {
            let (pattern, at) = self.regex(field)?;
            return Ok(Token::Regex { field, op, pattern, at });
        }
        let mut values = vec![self.value(Some(field))?];
        while self.eat(",") {
            values.push(self.value(Some(field))?);
        }
        Ok(Token::Term { field, op, values })
    }

    /// The operator behind a field's name. Blanks may stand around one that is not `:`, if the name is a field's.
    fn op(&mut self, known: bool) -> Option<Op> {
        let start = self.at;
        if known {
            self.skip_blanks();
        }
        let blanks = self.at > start;
        let colon = !blanks && self.eat(":");
        let op = [
            ("!=", Op::IsNot),
            ("!~", Op::MatchesNot),
            ("<=", Op::LessOrEqual),
            (">=", Op::GreaterOrEqual),
            ("<", Op::Less),
            (">", Op::Greater),
            ("=", Op::Is),
            ("~", Op::Matches),
        ]
        .into_iter()
        // `dur:>1ms` is common elsewhere; `path:~/x` is rather a path.
        .find(|(text, op)| !(colon && matches!(op, Op::Matches | Op::MatchesNot)) && self.eat(text));
        match op {
            Some((_, op)) => {
                if known {
                    self.skip_blanks();
                }
                Some(op)
            }
            None if colon => Some(Op::Is),
            None => {
                self.at = start;
                None
            }
        }
    }

    fn missing(&self, field: &Field) -> ParseError {
        let at = self.at..self.at + self.peek().map_or(0, char::len_utf8);
        ParseError::new(format!("{} needs a value, as in {}", field.name, field.example), at)
    }

    /// A word up to a blank, `|` or parenthesis; behind a field also up to a comma.
    fn value(&mut self, field: Option<&'static Field>) -> Result<Value, ParseError> {
        let start = self.at;
        let mut units = Vec::new();
        let mut quoted = false;
        while let Some(c) = self.peek() {
            match c {
                '"' => {
                    quoted = true;
                    self.quoted(&mut units)?;
                }
                '\\' => {
                    quoted = true;
                    let byte = self.escape()?;
                    units.push(Unit::Byte(byte));
                }
                ',' if field.is_some() => break,
                c if ends_word(c) => break,
                _ => {
                    self.bump();
                    match c {
                        '*' => units.push(Unit::Star),
                        '?' => units.push(Unit::Question),
                        _ => units.extend(c.encode_utf8(&mut [0; 4]).bytes().map(Unit::Byte)),
                    }
                }
            }
        }
        let at = start..self.at;
        if units.is_empty() {
            match field {
                // `""` behind a field is the empty text.
                Some(field) if !quoted => return Err(self.missing(field)),
                None => return Err(ParseError::new("an empty word matches everything; leave it out", at)),
                Some(_) => {}
            }
        }
        Ok(Value { units, at, quoted })
    }

    /// From `"` to `"`: wildcards, blanks and commas stand for themselves.
    fn quoted(&mut self, units: &mut Vec<Unit>) -> Result<(), ParseError> {
        let start = self.at;
        self.bump();
        loop {
            match self.peek() {
                None => return Err(ParseError::new("this quote is not closed", start..self.at)),
                Some('"') => {
                    self.bump();
                    return Ok(());
                }
                Some('\\') => {
                    let byte = self.escape()?;
                    units.push(Unit::Byte(byte));
                }
                Some(c) => {
                    self.bump();
                    units.extend(c.encode_utf8(&mut [0; 4]).bytes().map(Unit::Byte));
                }
            }
        }
    }

    /// `\xNN`, as the escaper writes it, or a backslash before a character that would mean something.
    fn escape(&mut self) -> Result<u8, ParseError> {
        let start = self.at;
        self.bump();
        match self.bump() {
            Some('x') => {
                let hex = self.rest().get(..2).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
                if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                    self.at += 2;
                    return Ok(byte);
                }
            }
            // ASCII, as both classes are.
            Some(c) if c.is_ascii_punctuation() || c == ' ' => return Ok(c as u8),
            _ => {}
        }
        let message = r"a backslash stands before \, *, ?, a comma, a quote, a blank, or as \xNN for a byte";
        Err(ParseError::new(message, start..self.at))
    }

    /// A regular expression: in quotes, or up to a blank, `|` or `)` that is not inside of its own parentheses or brackets.
    fn regex(&mut self, field: &'static Field) -> Result<(String, Range<usize>), ParseError> {
        let start = self.at;
        let quoted = self.eat("\"");
        let mut pattern = String::new();
        let (mut depth, mut bracket) = (0_usize, false);
        loop {
            let Some(c) = self.peek() else {
                if quoted {
                    return Err(ParseError::new("this quote is not closed", start..self.at));
                }
                break;
            };
            if quoted && c == '"' {
                self.bump();
                break;
            }
            if !quoted {
                match c {
                    _ if c.is_whitespace() => break,
                    '|' | ')' if depth == 0 && !bracket => break,
                    '[' => bracket = true,
                    ']' => bracket = false,
                    '(' if !bracket => depth += 1,
                    ')' if !bracket => depth -= 1,
                    _ => {}
                }
            }
            self.bump();
            push_regex_char(&mut pattern, c);
            if c == '\\'
                && let Some(next) = self.peek().filter(|c| quoted || !c.is_whitespace())
            {
                self.bump();
                push_regex_char(&mut pattern, next);
            }
        }
        if pattern.is_empty() {
            return Err(self.missing(field));
        }
        Ok((pattern, start..self.at))
    }
}

/// Appends a character of a pattern. One that must not reach a terminal as it is becomes the pattern's own escape for
/// it, so that the filter can be shown and read back.
fn push_regex_char(pattern: &mut String, c: char) {
    let shown = crate::escape::escaped(c.encode_utf8(&mut [0; 4]).as_bytes());
    if c == '\\' || shown.chars().eq([c]) {
        pattern.push(c);
    } else {
        pattern.push_str(&format!(r"\x{{{:x}}}", u32::from(c)));
    }
}
