//! The shop's clients: one thread and one connection each, until the time is up. What they do wrong is on purpose
//! (the list is in `main.rs`); what they do right must stay right, so that a report can be judged by its silence too.

use crate::Options;
use crate::random::Random;
use crate::tally::Tally;
use postgres::types::ToSql;
use postgres::{Client, Row, Statement};
use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};

/// One statement of the program: what it is for, and its text.
pub(crate) struct Call {
    name: &'static str,
    pub(crate) sql: &'static str,
}

pub(crate) const PRODUCT: Call = Call {
    name: "product page",
    sql: "SELECT id, name, description, price_cents, stock FROM products WHERE id = $1",
};
const PAGE_VIEW: Call = Call {
    name: "count page view (hot row)",
    sql: "UPDATE counters SET value = value + 1 WHERE name = 'page_views'",
};
const MY_ORDERS: Call = Call {
    name: "my orders (no index on key)",
    sql: "SELECT id, status, placed_at FROM orders WHERE customer_id = $1 ORDER BY placed_at DESC LIMIT 20",
};
const LOGIN: Call = Call {
    name: "login by email (no index)",
    sql: "SELECT id, name FROM customers WHERE lower(email) = lower($1)",
};
const SEARCH: Call = Call {
    name: "product search (no index)",
    sql: "SELECT id, name, price_cents FROM products WHERE name ILIKE '%' || $1 || '%' ORDER BY name LIMIT 20",
};
const ORDER_LIST: Call = Call {
    name: "order list (1 of n+1)",
    sql: "SELECT id, customer_id, status FROM orders ORDER BY id DESC LIMIT 20",
};
const ORDER_ITEMS: Call = Call {
    name: "items of one order (n of n+1)",
    sql: "SELECT line, product_id, quantity, price_cents FROM order_items WHERE order_id = $1",
};
const TOUCH: Call = Call {
    name: "touch session (no autovacuum)",
    sql: "UPDATE sessions SET last_seen = clock_timestamp(), basket = repeat('y', 200) WHERE id = $1",
};
const ORDER_NUMBER: Call = Call {
    name: "count order (hot row)",
    sql: "UPDATE counters SET value = value + 1 WHERE name = 'orders'",
};
const NEW_ORDER: Call = Call {
    name: "checkout: order",
    sql: "INSERT INTO orders (customer_id, status) VALUES ($1, 'paid') RETURNING id",
};
const NEW_ITEM: Call = Call {
    name: "checkout: item",
    sql: "INSERT INTO order_items (order_id, line, product_id, quantity, price_cents) \
          SELECT $1, $2, id, 1, price_cents FROM products WHERE id = $3",
};
const TAKE_STOCK: Call =
    Call { name: "checkout: stock", sql: "UPDATE products SET stock = stock - 1 WHERE id = $1" };
const NEW_EVENT: Call = Call {
    name: "new event",
    sql: "INSERT INTO events (kind, customer_id, payload) VALUES ($1, $2, $3)",
};
const TAKE_EVENTS: Call = Call {
    name: "worker takes events",
    sql: "UPDATE events SET processed_at = clock_timestamp() WHERE id IN (SELECT id FROM events \
          WHERE processed_at IS NULL ORDER BY id LIMIT 20 FOR UPDATE SKIP LOCKED) RETURNING id",
};
const REVENUE: Call = Call {
    name: "report: revenue by day",
    sql: "SELECT date_trunc('day', o.placed_at) AS day, sum(i.quantity * i.price_cents)::bigint AS cents, \
          count(DISTINCT o.id) AS orders FROM orders o JOIN order_items i ON i.order_id = o.id \
          WHERE o.placed_at > now() - interval '30 days' GROUP BY 1 ORDER BY 1",
};
const BEST_SELLERS: Call = Call {
    name: "report: best sellers",
    sql: "SELECT p.name, sum(i.quantity)::bigint AS sold FROM order_items i JOIN products p \
          ON p.id = i.product_id GROUP BY p.name ORDER BY sold DESC LIMIT 10",
};
const ALL_EVENTS: Call = Call {
    name: "events of a kind (unbounded)",
    sql: "SELECT * FROM events WHERE kind = $1 ORDER BY created_at",
};
const EDIT_PRODUCT: Call = Call {
    name: "edit product (then idle)",
    sql: "UPDATE products SET description = description WHERE id = $1",
};

/// Highest ids at the start; the skewed draws come from them.
#[derive(Clone, Copy)]
struct Ids {
    customers: i64,
    products: i64,
    sessions: i64,
}

/// One connection with its own counts.
struct Session {
    client: Client,
    prepared: HashMap<&'static str, Statement>,
    tally: Tally,
    random: Random,
    ids: Ids,
    until: Instant,
}

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];
type Outcome<T> = Result<T, postgres::Error>;

impl Session {
    fn call(&mut self, call: &Call, params: Params<'_>) -> Outcome<Vec<Row>> {
        let statement = match self.prepared.get(call.name) {
            Some(statement) => statement.clone(),
            None => {
                let statement = self.client.prepare(call.sql)?;
                self.prepared.insert(call.name, statement.clone());
                statement
            }
        };
        let began = Instant::now();
        let rows = self.client.query(&statement, params);
        let count = rows.as_ref().ok().map(|rows| rows.len() as u64);
        self.tally.note(call.name, count, began.elapsed());
        rows
    }

    fn word(&mut self, word: &'static str) -> Outcome<()> {
        let began = Instant::now();
        let done = self.client.batch_execute(word);
        self.tally.note(word, done.as_ref().ok().map(|()| 0), began.elapsed());
        done
    }

    /// Thinks, but not past the end.
    fn pause(&mut self, low_ms: u64, high_ms: u64) {
        let wanted = Duration::from_millis(self.random.between(low_ms, high_ms));
        std::thread::sleep(wanted.min(self.until.saturating_duration_since(Instant::now())));
    }

    fn product_page(&mut self) -> Outcome<()> {
        let id = self.random.skewed(self.ids.products);
        self.call(&PRODUCT, &[&id])?;
        if self.random.fraction() < 0.5 {
            self.call(&PAGE_VIEW, &[])?;
        }
        Ok(())
    }

    fn login(&mut self) -> Outcome<()> {
        let id = self.random.skewed(self.ids.customers);
        let host = ["example.com", "example.org", "example.net"][(id % 3) as usize];
        self.call(&LOGIN, &[&format!("CUSTOMER.{id}@{host}")])?;
        Ok(())
    }

    fn search(&mut self) -> Outcome<()> {
        let words = ["lamp 17", "chair 204", "blue clock", "clock 12", "shelf 9", "red lamp 4"];
        let word = words[self.random.between(0, words.len() as u64 - 1) as usize];
        self.call(&SEARCH, &[&word])?;
        Ok(())
    }

    fn order_list(&mut self) -> Outcome<()> {
        for order in self.call(&ORDER_LIST, &[])? {
            let id: i64 = order.get(0);
            self.call(&ORDER_ITEMS, &[&id])?;
        }
        Ok(())
    }

    fn checkout(&mut self) -> Outcome<()> {
        let customer = self.random.skewed(self.ids.customers);
        // In ascending order, as a careful programmer locks: the hot row is the only thing wrong here.
        let mut basket: Vec<i64> =
            (0..self.random.between(1, 4)).map(|_| self.random.skewed(self.ids.products)).collect();
        basket.sort_unstable();
        self.word("BEGIN")?;
        self.call(&ORDER_NUMBER, &[])?;
        let made = self.call(&NEW_ORDER, &[&customer])?;
        let Some(order) = made.first().map(|row| row.get::<_, i64>(0)) else {
            return self.word("ROLLBACK");
        };
        for (line, product) in (1_i32..).zip(&basket) {
            self.call(&NEW_ITEM, &[&order, &line, product])?;
            self.call(&TAKE_STOCK, &[product])?;
        }
        self.call(&NEW_EVENT, &[&"mail", &customer, &"order placed"])?;
        self.word("COMMIT")
    }

    fn touch(&mut self) -> Outcome<()> {
        let id = self.random.skewed(self.ids.sessions);
        self.call(&TOUCH, &[&id])?;
        Ok(())
    }

    fn web(&mut self) -> Outcome<()> {
        match self.random.between(0, 99) {
            0..40 => self.product_page()?,
            40..50 => {
                let customer = self.random.skewed(self.ids.customers);
                self.call(&MY_ORDERS, &[&customer])?;
            }
            50..57 => self.login()?,
            57..63 => self.search()?,
            63..71 => self.order_list()?,
            71..85 => self.checkout()?,
            _ => self.touch()?,
        }
        self.pause(5, 25);
        Ok(())
    }

    fn worker(&mut self) -> Outcome<()> {
        let customer = self.random.skewed(self.ids.customers);
        let kind = if self.random.fraction() < 0.7 { "view" } else { "cart" };
        self.call(&NEW_EVENT, &[&kind, &customer, &"from the worker"])?;
        self.call(&TAKE_EVENTS, &[])?;
        self.touch()?;
        self.pause(20, 60);
        Ok(())
    }

    fn report(&mut self) -> Outcome<()> {
        self.call(&REVENUE, &[])?;
        self.pause(500, 1500);
        self.call(&BEST_SELLERS, &[])?;
        self.pause(1000, 3000);
        Ok(())
    }

    fn admin_list(&mut self) -> Outcome<()> {
        self.call(&ALL_EVENTS, &[&"cart"])?;
        self.pause(2000, 4000);
        Ok(())
    }

    fn admin_edit(&mut self) -> Outcome<()> {
        // One of the products that hardly anybody buys, so that only the open transaction hurts.
        let id = self.ids.products - self.random.between(0, 9) as i64;
        self.word("BEGIN")?;
        self.call(&EDIT_PRODUCT, &[&id])?;
        self.pause(2000, 6000);
        self.word("COMMIT")?;
        self.pause(500, 1500);
        Ok(())
    }
}

type Step = fn(&mut Session) -> Outcome<()>;

/// Every connection: its application_name and what it does over and over.
const CLIENTS: [(&str, Step); 10] = [
    ("web", Session::web),
    ("web", Session::web),
    ("web", Session::web),
    ("web", Session::web),
    ("worker", Session::worker),
    ("worker", Session::worker),
    ("report", Session::report),
    ("admin", Session::admin_list),
    ("admin", Session::admin_edit),
    ("admin", Session::admin_edit),
];

/// Repeats one client's step until the time is up. A failed statement is counted and its transaction undone; a lost
/// connection ends the client, with what it had counted.
fn live(mut session: Session, step: Step) -> Tally {
    while Instant::now() < session.until && !session.client.is_closed() {
        if step(&mut session).is_err() {
            let _ = session.word("ROLLBACK");
            session.pause(50, 100);
        }
    }
    session.tally
}

/// A program that keeps all connections that its role may have, uses one now and then, and wants another.
const EXPORT: &str = "nightly export";
/// Its role, and the limit of that.
const EXPORT_ROLE: &str = "export";
const EXPORT_CONNECTIONS: usize = 12;

/// Holds connections until the time is up; counts what was executed, and as errors the connections that were refused.
fn export(options: &Options, until: Instant) -> Outcome<Tally> {
    let open = || options.connect_as(EXPORT_ROLE, EXPORT);
    let mut held = (0..EXPORT_CONNECTIONS).map(|_| open()).collect::<Outcome<Vec<Client>>>()?;
    let mut tally = Tally::default();
    while Instant::now() < until {
        for client in held.iter_mut().take(1) {
            let began = Instant::now();
            let done = client.batch_execute("SELECT pg_sleep(0.05)");
            tally.note("export: a part", done.ok().map(|()| 1), began.elapsed());
        }
        let began = Instant::now();
        tally.note("export: one more connection", open().ok().map(|_| 0), began.elapsed());
        let left = until.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(Duration::from_secs(5)));
    }
    Ok(tally)
}

/// Drives all clients for the time asked, then prints what they counted.
pub(crate) fn drive(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut probe = options.connect("shop drive")?;
    let row = probe.query_one(
        "SELECT (SELECT max(id) FROM customers), (SELECT max(id) FROM products), (SELECT max(id) FROM sessions)",
        &[],
    )?;
    let ids = Ids { customers: row.get(0), products: row.get(1), sessions: row.get(2) };
    drop(probe);

    let began = Instant::now();
    let until = began + Duration::from_secs(options.seconds);
    let mut threads = Vec::new();
    for (number, (name, step)) in CLIENTS.into_iter().enumerate() {
        let session = Session {
            client: options.connect(name)?,
            prepared: HashMap::new(),
            tally: Tally::default(),
            random: Random::new(options.seed.wrapping_mul(1000) + number as u64),
            ids,
            until,
        };
        threads.push(std::thread::spawn(move || live(session, step)));
    }
    let exporting = options.clone();
    let exporter = std::thread::spawn(move || export(&exporting, until));
    show_progress(began, until)?;
    let mut all = Tally::default();
    all.add(&exporter.join().map_err(|_| "the export panicked")??);
    for thread in threads {
        all.add(&thread.join().map_err(|_| "a client of the shop panicked")?);
    }
    let seconds = began.elapsed().as_secs_f64();
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{all}")?;
    writeln!(stdout, "{:.0} statements/s for {seconds:.0} s", all.executions() as f64 / seconds)?;
    if all.errors() > all.executions() / 100 {
        return Err("more than one statement in a hundred failed".into());
    }
    Ok(())
}

fn show_progress(began: Instant, until: Instant) -> std::io::Result<()> {
    let whole = until.duration_since(began);
    let mut stderr = std::io::stderr();
    while Instant::now() < until {
        let left = until.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(Duration::from_secs(10)));
        let done = began.elapsed().min(whole);
        writeln!(stderr, "    shop traffic: {} of {} s", done.as_secs(), whole.as_secs())?;
    }
    Ok(())
}
