//! Names mean the tables that executions read, whatever search_path a session had set.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use crate::advise::checks::*;
    use crate::advise::{self, Text};

    /// What is said of a text whose executions read these tables.
    fn read(query: &str, seen: &[&str]) -> String {
        let text = Text { query: query.as_bytes(), user_name: None, seen };
        let one = advise::shapes(&[text]).remove(0);
        assert!(one.shape.is_none() || !one.unresolved);
        if one.unresolved { "unresolved".to_owned() } else { said(one.shape) }
    }

    fn schemas() {
        for schema in ["app", "\"My Shop\"", "third"] {
            run(&format!("CREATE SCHEMA {schema}"));
        }
        run("CREATE TABLE public.orders (id int, in_public int)");
        run("CREATE TABLE app.orders (id int, in_app int)");
        run("CREATE TABLE \"My Shop\".orders (id int, in_shop int)");
        run("CREATE TABLE app.items (id int, order_id int)");
        run("CREATE TABLE third.items (id int, order_id int)");
        run("CREATE TABLE third.only_here (id int)");
        run("CREATE FUNCTION app.doubled(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n'");
    }

    #[pg_test]
    fn names_are_those_of_the_tables_that_were_read() {
        schemas();
        let of_orders = "SELECT * FROM orders WHERE id = $1";
        assert_eq!(read(of_orders, &[]), "orders(id =)", "nobody looked");
        assert_eq!(read(of_orders, &["public.orders"]), "orders(id =)");
        assert_eq!(read(of_orders, &["app.orders"]), "app.orders(id =)");
        assert_eq!(read(of_orders, &["\"My Shop\".orders"]), "\"My Shop\".orders(id =)");
        // In one text for several schemas, as a statement counts for the server from 18 on.
        assert_eq!(read(of_orders, &["app.orders", "public.orders"]), "orders(id =)");
        // Names that mean nothing along the path of the role.
        let columns = "SELECT * FROM orders WHERE in_app = $1";
        assert_eq!(read(columns, &["app.orders"]), "app.orders(in_app =)");
        let function = "SELECT * FROM orders WHERE doubled(id) = $1";
        assert_eq!(read(function, &["app.orders"]), "app.orders(app.doubled(id) ?)");
        let join = "SELECT * FROM orders o JOIN items i ON i.order_id = o.id";
        // What is looked up by an index leaves no trace: it is where the others are.
        let both = "app.orders(id = app.items); app.items(order_id = app.orders)";
        assert_eq!(read(join, &["app.orders"]), both);
        // The other schema has items, too, which hide nothing if it comes behind.
        assert_eq!(read(join, &["app.orders", "app.items"]), both);
        let apart = both.replace("app.items", "third.items");
        assert_eq!(read(join, &["app.orders", "third.items"]), apart);
        // Names with their schemas need no path.
        let written = "SELECT * FROM public.orders o JOIN app.orders a ON a.id = o.id";
        let known = "orders(id = app.orders); app.orders(id = orders)";
        assert_eq!(read(written, &["app.orders"]), known);
        assert_eq!(
            one::<String>("SELECT current_setting('search_path')").as_deref(),
            Some("\"$user\", public")
        );
    }

    #[pg_test]
    fn what_does_not_fit_is_not_said() {
        schemas();
        let of_orders = "SELECT * FROM orders WHERE id = $1";
        // What was read is gone, and another table has its name.
        assert_eq!(read(of_orders, &["gone.orders"]), "unresolved");
        assert_eq!(read(of_orders, &["third.orders"]), "unresolved");
        assert_eq!(read("SELECT * FROM nowhere WHERE id = $1", &[]), "unresolved");
        assert_eq!(read("SELECT * FROM nowhere", &["app.orders"]), "unresolved");
        // Each of two tables hides the other: no path leads to both.
        run("CREATE TABLE third.orders (id int)");
        let join = "SELECT * FROM orders o JOIN items i ON i.order_id = o.id";
        assert_eq!(read(join, &["third.orders", "app.items"]), "unresolved");
        // Tables that the text does not name are those of policies, and of functions that became part of it.
        assert_eq!(read(of_orders, &["third.only_here"]), "orders(id =)");
        let two = ["app.orders", "third.only_here"];
        assert_eq!(read(of_orders, &two), "app.orders(id =)");
        // What is no statement about tables is not missed.
        assert_eq!(read("VACUUM orders", &["app.orders"]), "nothing");
        assert_eq!(read("SELECT FROM FROM", &["app.orders"]), "nothing");
        assert_eq!(read("SELECT 1", &["app.orders"]), " | bounded");
    }

    #[pg_test]
    fn views_are_looked_for_where_their_tables_are() {
        schemas();
        run("CREATE VIEW public.recent AS SELECT * FROM public.orders WHERE id > 5");
        run("CREATE VIEW app.recent AS SELECT * FROM app.items WHERE id > 5");
        let query = "SELECT * FROM recent WHERE id = $1";
        assert_eq!(read(query, &["app.items"]), "app.items(id =, id <>)");
        assert_eq!(read(query, &["public.orders"]), "orders(id =, id <>)");
    }

    #[pg_test]
    fn parameters_beside_columns_are_noted() {
        run("CREATE TABLE public.things (id int, n bigint, t text, v varchar(9))");
        let given = |condition: &str| {
            let query = format!("SELECT * FROM things WHERE {condition}");
            let shape = shape(&query).expect(&query);
            let all = shape.tables[0].given.iter();
            all.map(|g| format!("{} {} {} {:?}", g.attnum, g.of_type, g.sign, g.values))
                .collect::<Vec<_>>()
                .join(", ")
        };
        assert_eq!(given("id = $1"), "1 integer = One(1)");
        assert_eq!(
            given("$2 > n AND id BETWEEN $3 AND $1"),
            "2 bigint < One(2), 1 integer >= One(3), 1 integer <= One(1)"
        );
        assert_eq!(given("v = $1 OR t = $2"), "4 character varying = One(1), 3 text = One(2)");
        assert_eq!(given("id = ANY ($1)"), "1 integer = Array(1)");
        assert_eq!(given("id IN ($1, $2)"), "1 integer = List([1, 2])");
        assert_eq!(given("id = ANY (ARRAY[$1, $2])"), "1 integer = List([1, 2])");
        assert_eq!(given("id IN ($1)"), "1 integer = One(1)");
        let many: Vec<String> = (1..=40).map(|n| format!("${n}")).collect();
        assert_eq!(given(&format!("id IN ({})", many.join(", "))), "1 integer = List([])");
        for none in
            ["id + 1 = $1", "id = n", "id = 5", "id::numeric = $1", "id = $1 + 1", "t LIKE $1"]
        {
            assert_eq!(given(none), "", "{none}");
        }
        // What the text converts, the text tells.
        for told in ["id = $1::numeric", "id = ANY ($1::numeric[])", "id IN ($1, $2::numeric)"] {
            assert_eq!(given(told), "", "{told}");
        }
        for none in ["id <> ALL ($1)", "id IN ($1, 5)", "id IN ($1, n)", "id = ANY (ARRAY[$1, 5])"]
        {
            assert!(!given(none).contains("List"), "{none}");
            assert!(!given(none).contains("Array"), "{none}");
        }
    }
}
