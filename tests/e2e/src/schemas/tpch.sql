-- A small database in the shape of TPC-H: the same tables, keys and kinds of columns, with made-up rows that are the
-- same every time. Keys have indexes; what queries filter by has none.
CREATE TABLE region (r_regionkey int PRIMARY KEY, r_name text NOT NULL);
CREATE TABLE nation (n_nationkey int PRIMARY KEY, n_name text NOT NULL, n_regionkey int NOT NULL);
CREATE TABLE supplier (
    s_suppkey int PRIMARY KEY, s_name text NOT NULL, s_nationkey int NOT NULL, s_acctbal numeric NOT NULL,
    s_comment text NOT NULL);
CREATE TABLE part (
    p_partkey int PRIMARY KEY, p_name text NOT NULL, p_mfgr text NOT NULL, p_brand text NOT NULL, p_type text NOT NULL,
    p_size int NOT NULL, p_container text NOT NULL, p_retailprice numeric NOT NULL);
CREATE TABLE partsupp (
    ps_partkey int NOT NULL, ps_suppkey int NOT NULL, ps_availqty int NOT NULL, ps_supplycost numeric NOT NULL,
    PRIMARY KEY (ps_partkey, ps_suppkey));
CREATE TABLE customer (
    c_custkey int PRIMARY KEY, c_name text NOT NULL, c_nationkey int NOT NULL, c_phone text NOT NULL,
    c_acctbal numeric NOT NULL, c_mktsegment text NOT NULL);
CREATE TABLE orders (
    o_orderkey int PRIMARY KEY, o_custkey int NOT NULL, o_orderstatus text NOT NULL, o_totalprice numeric NOT NULL,
    o_orderdate date NOT NULL, o_orderpriority text NOT NULL, o_comment text NOT NULL);
CREATE TABLE lineitem (
    l_orderkey int NOT NULL, l_partkey int NOT NULL, l_suppkey int NOT NULL, l_linenumber int NOT NULL,
    l_quantity numeric NOT NULL, l_extendedprice numeric NOT NULL, l_discount numeric NOT NULL, l_tax numeric NOT NULL,
    l_returnflag text NOT NULL, l_linestatus text NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL,
    l_receiptdate date NOT NULL, l_shipinstruct text NOT NULL, l_shipmode text NOT NULL,
    PRIMARY KEY (l_orderkey, l_linenumber));

-- A number from 0 to n - 1 that looks like chance and is none.
CREATE FUNCTION pick(seed int, salt int, n int) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ((hashint4(seed) # hashint4(salt * 7919))::bigint & 2147483647)::int % n;

INSERT INTO region SELECT g, 'REGION ' || g FROM generate_series(0, 4) g;
INSERT INTO nation SELECT g, 'NATION ' || g, g % 5 FROM generate_series(0, 24) g;
INSERT INTO supplier
SELECT g, 'Supplier ' || g, pick(g, 1, 25), pick(g, 2, 10000), CASE pick(g, 3, 20) WHEN 0 THEN 'Customer Complaints' ELSE 'fine' END
FROM generate_series(1, 100) g;
INSERT INTO part
SELECT g, (ARRAY['green', 'forest', 'red', 'blue', 'ivory'])[1 + pick(g, 4, 5)] || ' part ' || g, 'MFGR ' || pick(g, 5, 5),
    'Brand ' || pick(g, 6, 25), (ARRAY['PROMO', 'ECONOMY', 'STANDARD'])[1 + pick(g, 7, 3)] || ' ' ||
        (ARRAY['BRASS', 'STEEL', 'TIN'])[1 + pick(g, 8, 3)], 1 + pick(g, 9, 50), 'BOX ' || pick(g, 10, 40), 900 + pick(g, 11, 1000)
FROM generate_series(1, 2000) g;
INSERT INTO partsupp
SELECT p, 1 + (p + i * 25) % 100, pick(p, 12 + i, 10000), 1 + pick(p, 16 + i, 1000)
FROM generate_series(1, 2000) p, generate_series(0, 3) i;
INSERT INTO customer
SELECT g, 'Customer ' || g, pick(g, 20, 25), (10 + pick(g, 21, 25)) || '-555', pick(g, 22, 11000) - 1000,
    (ARRAY['BUILDING', 'AUTOMOBILE', 'MACHINERY', 'HOUSEHOLD', 'FURNITURE'])[1 + pick(g, 23, 5)]
FROM generate_series(1, 1500) g;
INSERT INTO orders
SELECT g, 1 + pick(g, 30, 1000), (ARRAY['O', 'F', 'P'])[1 + pick(g, 31, 3)], 1000 + pick(g, 32, 300000),
    date '1992-01-01' + pick(g, 33, 2400), (1 + pick(g, 34, 5)) || '-PRIORITY',
    CASE pick(g, 35, 10) WHEN 0 THEN 'special requests' ELSE 'nothing' END
FROM generate_series(1, 15000) g;
INSERT INTO lineitem
SELECT o, 1 + pick(o * 7 + l, 40, 2000), 1 + pick(o * 7 + l, 41, 100), l, 1 + pick(o * 7 + l, 42, 50), 1000 + pick(o * 7 + l, 43, 90000),
    pick(o * 7 + l, 44, 11) / 100.0, pick(o * 7 + l, 45, 9) / 100.0, (ARRAY['R', 'A', 'N'])[1 + pick(o * 7 + l, 46, 3)],
    (ARRAY['O', 'F'])[1 + pick(o * 7 + l, 47, 2)], date '1992-01-05' + pick(o * 7 + l, 48, 2500),
    date '1992-01-20' + pick(o * 7 + l, 49, 2500), date '1992-01-15' + pick(o * 7 + l, 50, 2500),
    (ARRAY['DELIVER IN PERSON', 'COLLECT COD', 'NONE', 'TAKE BACK'])[1 + pick(o * 7 + l, 51, 4)],
    (ARRAY['AIR', 'MAIL', 'SHIP', 'RAIL', 'TRUCK', 'FOB', 'REG AIR'])[1 + pick(o * 7 + l, 52, 7)]
FROM generate_series(1, 15000) o, generate_series(1, 4) l;
CREATE INDEX ON lineitem (l_partkey);
CREATE INDEX ON orders (o_custkey);
VACUUM ANALYZE;
