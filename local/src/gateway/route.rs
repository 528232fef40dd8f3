//! Route matching.

use crate::template::Route;

/// The route of a request, with the values of its path variables, not percent-decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) route: &'a Route,
    pub(super) variables: Variables<'a>,
}

/// Name and value of each path variable.
type Variables<'a> = Vec<(&'a str, &'a str)>;

/// The specificity of a path segment of a route, most specific first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    Literal,
    Variable,
    Greedy,
}

/// The most specific route for a request: literal segments take precedence over variables, variables over greedy ones, and a named method over
/// `ANY`.
pub(super) fn find<'a>(routes: &'a [Route], method: &str, path: &'a str) -> Option<Target<'a>> {
    routes
        .iter()
        .filter(|route| route.method == method || route.method == "ANY")
        .filter_map(|route| {
            let (specificity, variables) = matches(&route.path, path)?;
            Some(((specificity, route.method == "ANY"), Target { route, variables }))
        })
        .min_by(|(a, _), (b, _)| a.cmp(b))
        .map(|(_, target)| target)
}

/// Compares a path segment by segment. Variables are never empty, so `/x/` matches `/{proxy+}` but neither `/x` nor `/x/{id}`.
fn matches<'a>(pattern: &'a str, path: &'a str) -> Option<(Vec<Specificity>, Variables<'a>)> {
    let mut rest = Some(path.strip_prefix('/')?);
    let mut specificity = Vec::new();
    let mut variables = Vec::new();
    for segment in pattern.strip_prefix('/')?.split('/') {
        let remaining = rest?;
        let variable = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
        if let Some(name) = variable.and_then(|name| name.strip_suffix('+')) {
            if remaining.is_empty() {
                return None;
            }
            specificity.push(Specificity::Greedy);
            variables.push((name, remaining));
            return Some((specificity, variables));
        }
        let (value, after) = match remaining.split_once('/') {
            Some((value, after)) => (value, Some(after)),
            None => (remaining, None),
        };
        match variable {
            Some(_) if value.is_empty() => return None,
            Some(name) => {
                specificity.push(Specificity::Variable);
                variables.push((name, value));
            }
            None if segment == value => specificity.push(Specificity::Literal),
            None => return None,
        }
        rest = after;
    }
    rest.is_none().then_some((specificity, variables))
}
