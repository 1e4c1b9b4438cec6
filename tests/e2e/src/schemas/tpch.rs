//! A small database in the shape of TPC-H, and a statement in the shape of each of its 22 queries.

/// Tables and rows: 15,000 orders of 60,000 lines. To be run statement by statement, as it ends with VACUUM.
pub const SCHEMA: &str = include_str!("tpch.sql");

/// The statements, in the benchmark's order.
pub const QUERIES: [&str; 22] = [
    "SELECT l_returnflag, l_linestatus, sum(l_quantity), avg(l_discount), count(*) FROM lineitem
     WHERE l_shipdate <= date '1998-08-01' GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT s_acctbal, s_name, p_partkey FROM part, supplier, partsupp, nation, region
     WHERE p_partkey = ps_partkey AND s_suppkey = ps_suppkey AND p_size = 15 AND p_type LIKE '%BRASS'
         AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'REGION 3'
         AND ps_supplycost = (SELECT min(ps_supplycost) FROM partsupp, supplier, nation, region
             WHERE p_partkey = ps_partkey AND s_suppkey = ps_suppkey AND s_nationkey = n_nationkey
                 AND n_regionkey = r_regionkey AND r_name = 'REGION 3')
     ORDER BY s_acctbal DESC, p_partkey LIMIT 100",
    "SELECT l_orderkey, sum(l_extendedprice * (1 - l_discount)) AS revenue FROM customer, orders, lineitem
     WHERE c_mktsegment = 'BUILDING' AND c_custkey = o_custkey AND l_orderkey = o_orderkey
         AND o_orderdate < date '1995-03-15' AND l_shipdate > date '1995-03-15'
     GROUP BY l_orderkey ORDER BY revenue DESC, l_orderkey LIMIT 10",
    "SELECT o_orderpriority, count(*) FROM orders
     WHERE o_orderdate >= date '1993-07-01' AND o_orderdate < date '1993-10-01'
         AND EXISTS (SELECT FROM lineitem WHERE l_orderkey = o_orderkey AND l_commitdate < l_receiptdate)
     GROUP BY 1 ORDER BY 1",
    "SELECT n_name, sum(l_extendedprice) FROM customer, orders, lineitem, supplier, nation, region
     WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey AND l_suppkey = s_suppkey AND c_nationkey = s_nationkey
         AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'REGION 1'
         AND o_orderdate >= date '1994-01-01' AND o_orderdate < date '1995-01-01' GROUP BY 1 ORDER BY 2 DESC",
    "SELECT sum(l_extendedprice * l_discount) FROM lineitem
     WHERE l_shipdate >= date '1994-01-01' AND l_shipdate < date '1995-01-01' AND l_discount BETWEEN 0.05 AND 0.07
         AND l_quantity < 24",
    "SELECT a.n_name, b.n_name, extract(year FROM l_shipdate), sum(l_extendedprice)
     FROM supplier, lineitem, orders, customer, nation a, nation b
     WHERE s_suppkey = l_suppkey AND o_orderkey = l_orderkey AND c_custkey = o_custkey AND s_nationkey = a.n_nationkey
         AND c_nationkey = b.n_nationkey AND (a.n_name, b.n_name) IN (('NATION 1', 'NATION 2'), ('NATION 2', 'NATION 1'))
         AND l_shipdate BETWEEN date '1995-01-01' AND date '1996-12-31' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    "SELECT extract(year FROM o_orderdate), sum(CASE WHEN n.n_name = 'NATION 2' THEN l_extendedprice ELSE 0 END)
     FROM part, supplier, lineitem, orders, customer, nation m, nation n, region
     WHERE p_partkey = l_partkey AND s_suppkey = l_suppkey AND l_orderkey = o_orderkey AND o_custkey = c_custkey
         AND c_nationkey = m.n_nationkey AND m.n_regionkey = r_regionkey AND r_name = 'REGION 2'
         AND s_nationkey = n.n_nationkey AND p_type = 'ECONOMY STEEL' GROUP BY 1 ORDER BY 1",
    "SELECT n_name, extract(year FROM o_orderdate), sum(l_extendedprice - ps_supplycost * l_quantity)
     FROM part, supplier, lineitem, partsupp, orders, nation
     WHERE s_suppkey = l_suppkey AND ps_suppkey = l_suppkey AND ps_partkey = l_partkey AND p_partkey = l_partkey
         AND o_orderkey = l_orderkey AND s_nationkey = n_nationkey AND p_name LIKE '%green%' GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT c_custkey, sum(l_extendedprice) AS revenue FROM customer, orders, lineitem
     WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey AND o_orderdate >= date '1993-10-01'
         AND o_orderdate < date '1994-01-01' AND l_returnflag = 'R' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20",
    "SELECT ps_partkey, sum(ps_supplycost * ps_availqty) FROM partsupp, supplier, nation
     WHERE ps_suppkey = s_suppkey AND s_nationkey = n_nationkey AND n_name = 'NATION 7' GROUP BY 1
     HAVING sum(ps_supplycost * ps_availqty) > (SELECT sum(ps_supplycost * ps_availqty) * 0.01
         FROM partsupp, supplier, nation WHERE ps_suppkey = s_suppkey AND s_nationkey = n_nationkey AND n_name = 'NATION 7')
     ORDER BY 2 DESC",
    "SELECT l_shipmode, count(*) FILTER (WHERE o_orderpriority < '3') FROM orders, lineitem
     WHERE o_orderkey = l_orderkey AND l_shipmode IN ('MAIL', 'SHIP') AND l_commitdate < l_receiptdate
         AND l_shipdate < l_commitdate AND l_receiptdate >= date '1994-01-01' AND l_receiptdate < date '1995-01-01'
     GROUP BY 1 ORDER BY 1",
    "SELECT orders_of, count(*) FROM (SELECT c_custkey, count(o_orderkey) AS orders_of FROM customer
         LEFT JOIN orders ON c_custkey = o_custkey AND o_comment NOT LIKE '%special%requests%' GROUP BY 1) c
     GROUP BY 1 ORDER BY 2 DESC, 1 DESC",
    "SELECT sum(CASE WHEN p_type LIKE 'PROMO%' THEN l_extendedprice ELSE 0 END) / sum(l_extendedprice) FROM lineitem, part
     WHERE l_partkey = p_partkey AND l_shipdate >= date '1995-09-01' AND l_shipdate < date '1995-10-01'",
    "WITH revenue AS MATERIALIZED (SELECT l_suppkey, sum(l_extendedprice) AS total FROM lineitem
         WHERE l_shipdate >= date '1996-01-01' AND l_shipdate < date '1996-04-01' GROUP BY 1)
     SELECT s_suppkey, total FROM supplier, revenue
     WHERE s_suppkey = l_suppkey AND total = (SELECT max(total) FROM revenue) ORDER BY 1",
    "SELECT p_brand, p_type, p_size, count(DISTINCT ps_suppkey) FROM partsupp, part
     WHERE p_partkey = ps_partkey AND p_brand <> 'Brand 4' AND p_type NOT LIKE 'PROMO%' AND p_size IN (9, 14, 19, 23)
         AND ps_suppkey NOT IN (SELECT s_suppkey FROM supplier WHERE s_comment LIKE '%Customer%Complaints%')
     GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3",
    "SELECT sum(l_extendedprice) / 7.0 FROM lineitem, part
     WHERE p_partkey = l_partkey AND p_brand = 'Brand 2' AND p_container = 'BOX 3'
         AND l_quantity < (SELECT 0.2 * avg(l_quantity) FROM lineitem WHERE l_partkey = p_partkey)",
    "SELECT c_name, o_orderkey, sum(l_quantity) FROM customer, orders, lineitem
     WHERE o_orderkey IN (SELECT l_orderkey FROM lineitem GROUP BY 1 HAVING sum(l_quantity) > 180)
         AND c_custkey = o_custkey AND o_orderkey = l_orderkey GROUP BY 1, 2 ORDER BY 3 DESC, 2 LIMIT 100",
    "SELECT sum(l_extendedprice) FROM lineitem, part WHERE p_partkey = l_partkey AND l_shipinstruct = 'DELIVER IN PERSON'
         AND l_shipmode IN ('AIR', 'REG AIR') AND ((p_brand = 'Brand 1' AND l_quantity BETWEEN 1 AND 11 AND p_size < 6)
         OR (p_brand = 'Brand 2' AND l_quantity BETWEEN 10 AND 20 AND p_size < 11)
         OR (p_brand = 'Brand 3' AND l_quantity BETWEEN 20 AND 30 AND p_size < 16))",
    "SELECT s_name FROM supplier, nation WHERE s_suppkey IN (SELECT ps_suppkey FROM partsupp
         WHERE ps_partkey IN (SELECT p_partkey FROM part WHERE p_name LIKE 'forest%')
             AND ps_availqty > (SELECT 0.5 * sum(l_quantity) FROM lineitem WHERE l_partkey = ps_partkey
                 AND l_suppkey = ps_suppkey AND l_shipdate >= date '1994-01-01' AND l_shipdate < date '1995-01-01'))
         AND s_nationkey = n_nationkey AND n_name = 'NATION 3' ORDER BY 1",
    "SELECT s_name, count(*) FROM supplier, lineitem l, orders, nation
     WHERE s_suppkey = l.l_suppkey AND o_orderkey = l.l_orderkey AND o_orderstatus = 'F'
         AND l.l_receiptdate > l.l_commitdate AND s_nationkey = n_nationkey AND n_name = 'NATION 9'
         AND EXISTS (SELECT FROM lineitem o WHERE o.l_orderkey = l.l_orderkey AND o.l_suppkey <> l.l_suppkey)
         AND NOT EXISTS (SELECT FROM lineitem o WHERE o.l_orderkey = l.l_orderkey AND o.l_suppkey <> l.l_suppkey
             AND o.l_receiptdate > o.l_commitdate)
     GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100",
    "SELECT substring(c_phone FROM 1 FOR 2), count(*), sum(c_acctbal) FROM customer
     WHERE substring(c_phone FROM 1 FOR 2) IN ('13', '31', '23', '29') AND c_acctbal > (SELECT avg(c_acctbal)
         FROM customer WHERE c_acctbal > 0 AND substring(c_phone FROM 1 FOR 2) IN ('13', '31', '23', '29'))
         AND NOT EXISTS (SELECT FROM orders WHERE o_custkey = c_custkey) GROUP BY 1 ORDER BY 1",
];
