//! Tokens → expression tree: words are AND and bind tighter than `|`, `!` binds tightest.

use std::ops::Range;

use super::{
    ParseError,
    expr::{Expr, Term},
    lexer::{Lexer, Op, Spanned, Token},
    names::Names,
    value,
};

/// How deep parentheses and `!` may nest: evaluating goes down as far on the stack.
const DEPTH_MAX: usize = 64;

/// The tree of `text`.
///
/// # Errors
/// Where and why it is no filter.
pub(super) fn parse(text: &str, names: &dyn Names) -> Result<Expr, ParseError> {
    let mut lexer = Lexer::new(text);
    let next = lexer.next()?;
    let mut parser = Parser { lexer, next, names, end: text.len(), depth: 0 };
    if parser.next.is_none() {
        return Ok(Expr::All(Vec::new()));
    }
    let expr = parser.any()?;
    match parser.next {
        None => Ok(expr),
        // Only a parenthesis ends an expression before its text does.
        Some((_, at)) => Err(ParseError::new("this parenthesis closes nothing", at)),
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    next: Option<Spanned>,
    names: &'a dyn Names,
    end: usize,
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self) -> Result<Option<Spanned>, ParseError> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    /// `a | b | c`
    fn any(&mut self) -> Result<Expr, ParseError> {
        let mut parts = vec![self.all()?];
        while let Some((Token::Or, at)) = &self.next {
            let at = at.clone();
            self.take()?;
            if self.at_end() {
                return Err(ParseError::new("nothing stands after this |", at));
            }
            parts.push(self.all()?);
        }
        Ok(Expr::any(parts))
    }

    /// Whether no operand can follow.
    fn at_end(&self) -> bool {
        matches!(self.next, None | Some((Token::Close, _)))
    }

    /// `a b c`
    fn all(&mut self) -> Result<Expr, ParseError> {
        let mut parts = vec![self.operand()?];
        loop {
            match &self.next {
                None | Some((Token::Or | Token::Close, _)) => return Ok(Expr::all(parts)),
                Some((Token::And, at)) => {
                    let at = at.clone();
                    self.take()?;
                    if self.at_end() {
                        return Err(ParseError::new("nothing stands after this &&", at));
                    }
                }
                Some(_) => {}
            }
            parts.push(self.operand()?);
        }
    }

    fn operand(&mut self) -> Result<Expr, ParseError> {
        let Some((token, at)) = self.take()? else {
            return Err(ParseError::new("something is missing here", self.end..self.end));
        };
        match token {
            Token::Open => self.deeper(&at, |parser| parser.parenthesised(&at)),
            Token::Not => self.deeper(&at, |parser| {
                if parser.next.is_none() {
                    return Err(ParseError::new("nothing stands after this !", at.clone()));
                }
                Ok(Expr::Not(Box::new(parser.operand()?)))
            }),
            Token::Close => Err(ParseError::new("nothing stands before this parenthesis", at)),
            Token::Or => Err(ParseError::new("nothing stands before this |", at)),
            Token::And => Err(ParseError::new("nothing stands before this &&", at)),
            Token::Word(word) => Ok(Expr::Term(Term { test: value::word(&word)?, at })),
            Token::Term { field, op, values } => {
                let term = Expr::Term(Term { test: value::test(field, op, &values, self.names, &at)?, at });
                Ok(if op == Op::IsNot { Expr::Not(Box::new(term)) } else { term })
            }
            Token::Regex { field, op, pattern, at: pattern_at } => {
                let term = Expr::Term(Term { test: value::regex(field, &pattern, &pattern_at)?, at });
                Ok(if op == Op::MatchesNot { Expr::Not(Box::new(term)) } else { term })
            }
        }
    }

    fn parenthesised(&mut self, open: &Range<usize>) -> Result<Expr, ParseError> {
        if let Some((Token::Close, close)) = &self.next {
            return Err(ParseError::new("nothing stands in these parentheses", open.start..close.end));
        }
        if self.next.is_none() {
            return Err(ParseError::new("this parenthesis is not closed", open.clone()));
        }
        let inner = self.any()?;
        match self.take()? {
            Some((Token::Close, _)) => Ok(inner),
            _ => Err(ParseError::new("this parenthesis is not closed", open.clone())),
        }
    }

    fn deeper(
        &mut self,
        at: &Range<usize>,
        parse: impl FnOnce(&mut Self) -> Result<Expr, ParseError>,
    ) -> Result<Expr, ParseError> {
        if self.depth == DEPTH_MAX {
            return Err(ParseError::new(format!("nested deeper than {DEPTH_MAX}"), at.clone()));
        }
        self.depth += 1;
        let expr = parse(self);
        self.depth -= 1;
        expr
    }
}
