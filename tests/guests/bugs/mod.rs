//! A shop with bugs, which is built three times: `changed` stands for what was changed meanwhile between them, in code that is not at fault.

#[expect(clippy::unwrap_used, reason = "these are the bugs")]
mod orders;
#[expect(clippy::unwrap_used, reason = "likewise")]
mod stock;

use glasshouse_sdk::record_error;

/// Does what has a bug of that name; what is met of it depends on a number.
pub(crate) fn run(bug: &str, number: usize) -> usize {
    match bug {
        "first-shelf" => stock::first_shelf(number),
        "last-shelf" => stock::last_shelf(number),
        "reserve" => stock::reserve(number),
        "release" => stock::release(number),
        "count" => stock::count(number),
        "share" => stock::share(number),
        "borrow" => stock::borrow(number),
        "discard" => stock::discard(number),
        "recall" => stock::recall(number),
        "parse" => orders::parse(number),
        "pick-bytes" => orders::pick_bytes(number),
        "pick-pairs" => orders::pick_pairs(number),
        "walk" => orders::walk(number),
        "forget" => orders::forget(number),
        "cut" => orders::cut(number),
        "missing" => report("missing", &format!("no file /srv/pages/{number}.md for 'user-{number}'")),
        "denied" => report("denied", &format!("no file /srv/pages/{number}.md for 'user-{number}'")),
        "late" => report("upstream", &format!("no answer in {number}ms of `{number}`")),
        "refused" => report("upstream", &format!("refused {number} times by `{number}`")),
        _ => number,
    }
}

fn report(kind: &str, message: &str) -> usize {
    changed!();
    record_error(kind, message);
    0
}
