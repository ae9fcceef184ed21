--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: append_batch(bigint, bigint, bytea, bytea[], bytea[], bytea[], bytea[], text[], bigint[], bigint[]); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.append_batch(its_origin bigint, its_number bigint, its_batch bytea, new_keys bytea[], new_requests bytea[], new_answers bytea[], doubted bytea[], new_names text[], new_boards bigint[], gone bigint[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    stored  bigint;
    missing bigint;
BEGIN
    INSERT INTO answers (key, request, answer)
    SELECT * FROM unnest(new_keys, new_requests, new_answers) AS given (key)
    ORDER BY given.key
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS stored = ROW_COUNT;
    IF stored < cardinality(new_keys)
        OR EXISTS (SELECT FROM answers WHERE key = ANY (doubted))
    THEN
        RAISE 'a key is known' USING ERRCODE = 'RW001';
    END IF;

    DELETE FROM names WHERE board = ANY (gone);
    -- A board that begins and ends within the batch leaves no name.
    WITH given AS (
        SELECT * FROM unnest(new_names, new_boards) AS given (name, board)
        WHERE board <> ALL (gone)
    ), taken AS (
        INSERT INTO names SELECT * FROM given ORDER BY name ON CONFLICT DO NOTHING RETURNING 1
    )
    SELECT (SELECT count(*) FROM given) - (SELECT count(*) FROM taken) INTO missing;
    IF missing > 0 THEN
        RAISE 'a name is taken' USING ERRCODE = 'RW002';
    END IF;

    IF length(its_batch) > 0 THEN
        INSERT INTO journal (origin, number, batch) VALUES (its_origin, its_number, its_batch);
    END IF;
END
$$;


--
-- Name: make_weeks(integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.make_weeks(weeks integer) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    monday timestamptz;
    sunday timestamptz;
    week   text;
BEGIN
    FOR ahead IN 0 .. weeks LOOP
        monday := date_trunc('week', clock_timestamp(), 'UTC') + ahead * interval '7 days';
        sunday := monday + interval '7 days';
        week := 'journal_' || to_char(monday AT TIME ZONE 'UTC', 'YYYYMMDD');
        CONTINUE WHEN to_regclass(week) IS NOT NULL;
        CONTINUE WHEN EXISTS (
            SELECT FROM journal_rest WHERE committed_at >= monday AND committed_at < sunday
        );
        -- Attaching does not hold up those who write, which creating it as a partition would.
        EXECUTE format(
            'CREATE TABLE %I '
            '(LIKE journal INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION)',
            week
        );
        EXECUTE format(
            'ALTER TABLE journal ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            week, monday, sunday
        );
    END LOOP;
END
$$;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: answers; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.answers (
    key bytea NOT NULL,
    request bytea NOT NULL,
    answer bytea NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');


--
-- Name: boards; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.boards (
    id bigint NOT NULL,
    name text NOT NULL,
    score text NOT NULL,
    "order" text NOT NULL,
    policy text NOT NULL,
    ties text NOT NULL,
    seed bytea NOT NULL,
    version bigint NOT NULL,
    player_submits boolean NOT NULL
);


--
-- Name: cluster; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.cluster (
    single boolean DEFAULT true NOT NULL,
    id text DEFAULT replace((gen_random_uuid())::text, '-'::text, ''::text) NOT NULL,
    CONSTRAINT cluster_single_check CHECK (single)
);


--
-- Name: dropped; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.dropped (
    board bigint NOT NULL,
    dropped_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: journal; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.journal (
    seq bigint NOT NULL,
    origin bigint NOT NULL,
    number bigint NOT NULL,
    committed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    batch bytea NOT NULL
)
PARTITION BY RANGE (committed_at);
ALTER TABLE ONLY public.journal ALTER COLUMN batch SET COMPRESSION lz4;


--
-- Name: journal_20261130; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.journal_20261130 (
    seq bigint NOT NULL,
    origin bigint NOT NULL,
    number bigint NOT NULL,
    committed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    batch bytea NOT NULL
);
ALTER TABLE ONLY public.journal_20261130 ALTER COLUMN batch SET COMPRESSION lz4;


--
-- Name: journal_20261207; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.journal_20261207 (
    seq bigint NOT NULL,
    origin bigint NOT NULL,
    number bigint NOT NULL,
    committed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    batch bytea NOT NULL
);
ALTER TABLE ONLY public.journal_20261207 ALTER COLUMN batch SET COMPRESSION lz4;


--
-- Name: journal_20261214; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.journal_20261214 (
    seq bigint NOT NULL,
    origin bigint NOT NULL,
    number bigint NOT NULL,
    committed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    batch bytea NOT NULL
);
ALTER TABLE ONLY public.journal_20261214 ALTER COLUMN batch SET COMPRESSION lz4;


--
-- Name: journal_20261221; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.journal_20261221 (
    seq bigint NOT NULL,
    origin bigint NOT NULL,
    number bigint NOT NULL,
    committed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    batch bytea NOT NULL
);
ALTER TABLE ONLY public.journal_20261221 ALTER COLUMN batch SET COMPRESSION lz4;


--
-- Name: journal_20261228; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.journal_20261228 (
    seq bigint NOT NULL,
    origin bigint NOT NULL,
    number bigint NOT NULL,
    committed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    batch bytea NOT NULL
);
ALTER TABLE ONLY public.journal_20261228 ALTER COLUMN batch SET COMPRESSION lz4;


--
-- Name: journal_rest; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.journal_rest (
    seq bigint NOT NULL,
    origin bigint NOT NULL,
    number bigint NOT NULL,
    committed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    batch bytea NOT NULL
);
ALTER TABLE ONLY public.journal_rest ALTER COLUMN batch SET COMPRESSION lz4;


--
-- Name: journal_seq_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.journal ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.journal_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.keys (
    id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    hash bytea NOT NULL,
    scopes text NOT NULL,
    boards text NOT NULL,
    created_ms bigint NOT NULL,
    revoked_ms bigint
);


--
-- Name: members; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.members (
    board bigint NOT NULL,
    member text NOT NULL COLLATE pg_catalog."C",
    score double precision,
    code bigint,
    stamp bigint,
    generation bigint NOT NULL
)
WITH (fillfactor='90');


--
-- Name: names; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.names (
    name text NOT NULL COLLATE pg_catalog."C",
    board bigint NOT NULL
);


--
-- Name: origins; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.origins (
    origin bigint NOT NULL,
    node text NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    proved_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    last bigint
);


--
-- Name: profiles; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.profiles (
    member text NOT NULL COLLATE pg_catalog."C",
    name text,
    avatar text,
    attributes json NOT NULL,
    updated_at timestamp with time zone NOT NULL
);


--
-- Name: schema_migrations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.schema_migrations (
    number integer NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: standings; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.standings AS
 SELECT boards.name AS board,
    row_number() OVER (PARTITION BY boards.id ORDER BY members.code,
        CASE boards.ties
            WHEN 'first'::text THEN members.stamp
            WHEN 'last'::text THEN (- members.stamp)
            ELSE NULL::bigint
        END, members.member) AS rank,
    members.member,
        CASE
            WHEN (boards.score = 'float64'::text) THEN ((members.score)::text)::numeric
            WHEN (boards."order" = 'asc'::text) THEN (members.code)::numeric
            ELSE ((~ members.code))::numeric
        END AS score
   FROM (public.members
     JOIN public.boards ON ((boards.id = members.board)))
  WHERE (members.code IS NOT NULL);


--
-- Name: vector; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.vector (
    origin bigint NOT NULL,
    number bigint NOT NULL
);


--
-- Name: journal_20261130; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.journal ATTACH PARTITION public.journal_20261130 FOR VALUES FROM ('2026-11-30 00:00:00+00') TO ('2026-12-07 00:00:00+00');


--
-- Name: journal_20261207; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.journal ATTACH PARTITION public.journal_20261207 FOR VALUES FROM ('2026-12-07 00:00:00+00') TO ('2026-12-14 00:00:00+00');


--
-- Name: journal_20261214; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.journal ATTACH PARTITION public.journal_20261214 FOR VALUES FROM ('2026-12-14 00:00:00+00') TO ('2026-12-21 00:00:00+00');


--
-- Name: journal_20261221; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.journal ATTACH PARTITION public.journal_20261221 FOR VALUES FROM ('2026-12-21 00:00:00+00') TO ('2026-12-28 00:00:00+00');


--
-- Name: journal_20261228; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.journal ATTACH PARTITION public.journal_20261228 FOR VALUES FROM ('2026-12-28 00:00:00+00') TO ('2027-01-04 00:00:00+00');


--
-- Name: journal_rest; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.journal ATTACH PARTITION public.journal_rest DEFAULT;


--
-- Data for Name: answers; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.answers (key, request, answer, created_at) FROM stdin;
\\xad8a16e39e8cc2de573fc2875d535b05	\\xa01ac432fbdd0789908007ff78e1649d	\\x007b22626f617264223a2262657374222c226d656d626572223a226b65796564222c2273636f7265223a352c2272616e6b223a352c2270726576696f75735f73636f7265223a6e756c6c2c2270726576696f75735f72616e6b223a6e756c6c2c226368616e676564223a747275652c2276657273696f6e223a387d	2026-11-30 17:56:46.775718+00
\.


--
-- Data for Name: boards; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.boards (id, name, score, "order", policy, ties, seed, version, player_submits) FROM stdin;
5223011353321068536	last	float64	asc	last	last	\\x9733499816f2097eaf7bf5cd0cce6c93	4	f
8201281677534098396	best	int64	desc	best	first	\\x3b2b657296af17c07a79a2bebffdf993	6	f
7210054128878660497	sum	int64	desc	sum	member	\\x9c4b1ca13f7b98d71813e448618ea71e	5	f
\.


--
-- Data for Name: cluster; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.cluster (single, id) FROM stdin;
t	faf278222d2c4ec585aa7ee9b612ffe1
\.


--
-- Data for Name: dropped; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.dropped (board, dropped_at) FROM stdin;
972588458121898855	2026-11-30 17:56:46.761684+00
\.


--
-- Data for Name: journal_20261130; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.journal_20261130 (seq, origin, number, committed_at, batch) FROM stdin;
1	243735471271261027	1	2026-11-30 17:56:46.715391+00	\\x020100000001dcf356c43bced071046265737400000000003b2b657296af17c07a79a2bebffdf9936ae41a1f
2	243735471271261027	2	2026-11-30 17:56:46.719016+00	\\x020100000001f8d7883427dd7b48046c61737401010101009733499816f2097eaf7bf5cd0cce6c93f9d46015
3	243735471271261027	3	2026-11-30 17:56:46.722293+00	\\x02010000000191ab269b07420f640373756d00000202009c4b1ca13f7b98d71813e448618ea71e2a3fd1e5
4	243735471271261027	4	2026-11-30 17:56:46.72305+00	\\x020100000001672b00b70c547f0d04676f6e6500000000004a4ac38b16a282af2c1275dbfaeaeef08f48f4c8
5	243735471271261027	5	2026-11-30 17:56:46.723859+00	\\x020100000003dcf356c43bced07103616e6e0700000000000000000003fec63f253a00000000b33e1563
6	243735471271261027	6	2026-11-30 17:56:46.724454+00	\\x020100000003f8d7883427dd7b4803616e6e0000000000000000000004fec63f253a00000000cd6e8d52
7	243735471271261027	7	2026-11-30 17:56:46.724823+00	\\x02010000000391ab269b07420f6403616e6e0000000000000020010004fec63f253a0000000058c160be
8	243735471271261027	8	2026-11-30 17:56:46.727107+00	\\x020100000003dcf356c43bced07103626f620700000000000000000007fec63f253a000000007ded082f
9	243735471271261027	9	2026-11-30 17:56:46.727746+00	\\x020100000003f8d7883427dd7b4803626f62000000000000f8bf010007fec63f253a00000000af825c42
10	243735471271261027	10	2026-11-30 17:56:46.729331+00	\\x02010000000391ab269b07420f6403626f620000000000000020000009fec63f253a000000003375cd95
11	243735471271261027	11	2026-11-30 17:56:46.729959+00	\\x020100000003dcf356c43bced07106e697a5e69cac0700000000000000010009fec63f253a00000000dd2afcaf
12	243735471271261027	12	2026-11-30 17:56:46.7316+00	\\x020100000003f8d7883427dd7b4806e697a5e69cac00000000000008c000000bfec63f253a00000000a6916fbe
13	243735471271261027	13	2026-11-30 17:56:46.731946+00	\\x02010000000391ab269b07420f6406e697a5e69cac000000000000002001000bfec63f253a0000000037d8321a
14	243735471271261027	14	2026-11-30 17:56:46.73307+00	\\x020100000003dcf356c43bced071807878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878070000000000000000000dfec63f253a00000000e2db5128
15	243735471271261027	15	2026-11-30 17:56:46.734185+00	\\x020100000003f8d7883427dd7b4880787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787800000000000012c000000efec63f253a00000000257df2a3
16	243735471271261027	16	2026-11-30 17:56:46.735281+00	\\x02010000000391ab269b07420f64807878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878000000000000002000000ffec63f253a00000000a6fda077
17	243735471271261027	17	2026-11-30 17:56:46.735594+00	\\x020100000003dcf356c43bced071142d39323233333732303336383534373735383038000000000000008001000ffec63f253a00000000f11aea39
18	243735471271261027	18	2026-11-30 17:56:46.736933+00	\\x020100000003dcf356c43bced0711339323233333732303336383534373735383037ffffffffffffff7f000010fec63f253a00000000a3a50e59
19	243735471271261027	19	2026-11-30 17:56:46.738153+00	\\x020100000003672b00b70c547f0d03616e6e0100000000000000000012fec63f253a000000005917164a
20	243735471271261027	20	2026-11-30 17:56:46.73923+00	\\x02010000000491ab269b07420f6403626f620100000087f030da
21	243735471271261027	21	2026-11-30 17:56:46.740546+00	\\x020100000002672b00b70c547f0df99b22e5
22	243735471271261027	22	2026-11-30 17:56:46.76722+00	\\x0201000000011a023601bb5cd84804676f6e6500010100000942ce5c51bf5bc967172bc81cae6b567f9fd262
23	243735471271261027	23	2026-11-30 17:56:46.767684+00	\\x0201000000031a023601bb5cd84803626f62020000000000000000002ffec63f253a00000000af53bda0
24	243735471271261027	24	2026-11-30 17:56:46.773021+00	\\x02010000000391ab269b07420f6403626f620300000000000000000033fec63f253a010000008a91b920
25	243735471271261027	25	2026-11-30 17:56:46.774078+00	\\x020100000004dcf356c43bced07103616e6e01000000a767c596
26	243735471271261027	26	2026-11-30 17:56:46.774314+00	\\x020100000003f8d7883427dd7b480474696e790100000000000000000036fec63f253a0000000039a1ff39
27	243735471271261027	27	2026-11-30 17:56:46.776193+00	\\x020100000003dcf356c43bced071056b657965640500000000000000000037fec63f253a00000000862ac8ce
\.


--
-- Data for Name: journal_20261207; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.journal_20261207 (seq, origin, number, committed_at, batch) FROM stdin;
\.


--
-- Data for Name: journal_20261214; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.journal_20261214 (seq, origin, number, committed_at, batch) FROM stdin;
\.


--
-- Data for Name: journal_20261221; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.journal_20261221 (seq, origin, number, committed_at, batch) FROM stdin;
\.


--
-- Data for Name: journal_20261228; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.journal_20261228 (seq, origin, number, committed_at, batch) FROM stdin;
\.


--
-- Data for Name: journal_rest; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.journal_rest (seq, origin, number, committed_at, batch) FROM stdin;
\.


--
-- Data for Name: keys; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.keys (id, name, hash, scopes, boards, created_ms, revoked_ms) FROM stdin;
aaaaaaaaaaaa	game	\\x0000000000000000000000000000000000000000000000000000000000000000	read	cup	1000	\N
bbbbbbbbbbbb	old	\\x0000000000000000000000000000000000000000000000000000000000000000	submit		2000	3000
\.


--
-- Data for Name: members; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.members (board, member, score, code, stamp, generation) FROM stdin;
5223011353321068536	xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx	-4.5	-4616752568008179713	4189825152236519424	0
5223011353321068536	日本	-3	-4613937818241073153	4189825152236322816	0
5223011353321068536	bob	-1.5	-4609434218613702657	4189825152236060673	0
5223011353321068536	ann	0	0	4189825152235864064	0
8201281677534098396	bob	7	-8	4189825152236060672	0
8201281677534098396	-9223372036854775808	-9.223372036854776e+18	9223372036854775807	4189825152236584961	0
8201281677534098396	ann	7	-8	4189825152235798528	0
8201281677534098396	xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx	7	-8	4189825152236453888	0
8201281677534098396	9223372036854775807	9.223372036854776e+18	-9223372036854775808	4189825152236650496	0
8201281677534098396	日本	7	-8	4189825152236191745	0
7210054128878660497	xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx	2.305843009213694e+18	-2305843009213693953	4189825152236584960	0
7210054128878660497	bob	\N	\N	\N	1
7210054128878660497	ann	2.305843009213694e+18	-2305843009213693953	4189825152235864065	0
7210054128878660497	日本	2.305843009213694e+18	-2305843009213693953	4189825152236322817	0
\.


--
-- Data for Name: names; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.names (name, board) FROM stdin;
best	8201281677534098396
last	5223011353321068536
sum	7210054128878660497
gone	5249047323949269530
\.


--
-- Data for Name: origins; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.origins (origin, node, started_at, proved_at, last) FROM stdin;
243735471271261027	vm:12157	2026-11-30 17:56:46.688962+00	2026-11-30 17:56:46.688962+00	27
\.


--
-- Data for Name: profiles; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.profiles (member, name, avatar, attributes, updated_at) FROM stdin;
ann	Ann Ä	\N	{"level":7}	2026-01-02 03:04:05.678901+00
\.


--
-- Data for Name: schema_migrations; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.schema_migrations (number, name, sha256, applied_at) FROM stdin;
1	0001_postgres.sql	371ed4837c7237cf0771179faed317dcb1e5b9cbb86c7ffabf78d679ad5299b1	2026-11-30 17:56:46.677343+00
\.


--
-- Data for Name: vector; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.vector (origin, number) FROM stdin;
243735471271261027	21
\.


--
-- Name: journal_seq_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.journal_seq_seq', 27, true);


--
-- Name: answers answers_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.answers
    ADD CONSTRAINT answers_pkey PRIMARY KEY (key);


--
-- Name: boards boards_name_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.boards
    ADD CONSTRAINT boards_name_key UNIQUE (name);


--
-- Name: boards boards_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.boards
    ADD CONSTRAINT boards_pkey PRIMARY KEY (id);


--
-- Name: cluster cluster_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.cluster
    ADD CONSTRAINT cluster_pkey PRIMARY KEY (single);


--
-- Name: dropped dropped_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.dropped
    ADD CONSTRAINT dropped_pkey PRIMARY KEY (board);


--
-- Name: journal journal_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.journal
    ADD CONSTRAINT journal_pkey PRIMARY KEY (origin, number, committed_at);


--
-- Name: journal_20261130 journal_20261130_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.journal_20261130
    ADD CONSTRAINT journal_20261130_pkey PRIMARY KEY (origin, number, committed_at);


--
-- Name: journal_20261207 journal_20261207_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.journal_20261207
    ADD CONSTRAINT journal_20261207_pkey PRIMARY KEY (origin, number, committed_at);


--
-- Name: journal_20261214 journal_20261214_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.journal_20261214
    ADD CONSTRAINT journal_20261214_pkey PRIMARY KEY (origin, number, committed_at);


--
-- Name: journal_20261221 journal_20261221_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.journal_20261221
    ADD CONSTRAINT journal_20261221_pkey PRIMARY KEY (origin, number, committed_at);


--
-- Name: journal_20261228 journal_20261228_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.journal_20261228
    ADD CONSTRAINT journal_20261228_pkey PRIMARY KEY (origin, number, committed_at);


--
-- Name: journal_rest journal_rest_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.journal_rest
    ADD CONSTRAINT journal_rest_pkey PRIMARY KEY (origin, number, committed_at);


--
-- Name: keys keys_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.keys
    ADD CONSTRAINT keys_pkey PRIMARY KEY (id);


--
-- Name: members members_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.members
    ADD CONSTRAINT members_pkey PRIMARY KEY (board, member);


--
-- Name: names names_board_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.names
    ADD CONSTRAINT names_board_key UNIQUE (board);


--
-- Name: names names_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.names
    ADD CONSTRAINT names_pkey PRIMARY KEY (name);


--
-- Name: origins origins_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.origins
    ADD CONSTRAINT origins_pkey PRIMARY KEY (origin);


--
-- Name: profiles profiles_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.profiles
    ADD CONSTRAINT profiles_pkey PRIMARY KEY (member);


--
-- Name: schema_migrations schema_migrations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (number);


--
-- Name: vector vector_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.vector
    ADD CONSTRAINT vector_pkey PRIMARY KEY (origin);


--
-- Name: answers_created_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX answers_created_at ON public.answers USING btree (created_at);


--
-- Name: journal_seq; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX journal_seq ON ONLY public.journal USING btree (seq);


--
-- Name: journal_20261130_seq_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX journal_20261130_seq_idx ON public.journal_20261130 USING btree (seq);


--
-- Name: journal_20261207_seq_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX journal_20261207_seq_idx ON public.journal_20261207 USING btree (seq);


--
-- Name: journal_20261214_seq_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX journal_20261214_seq_idx ON public.journal_20261214 USING btree (seq);


--
-- Name: journal_20261221_seq_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX journal_20261221_seq_idx ON public.journal_20261221 USING btree (seq);


--
-- Name: journal_20261228_seq_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX journal_20261228_seq_idx ON public.journal_20261228 USING btree (seq);


--
-- Name: journal_rest_seq_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX journal_rest_seq_idx ON public.journal_rest USING btree (seq);


--
-- Name: journal_20261130_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.journal_pkey ATTACH PARTITION public.journal_20261130_pkey;


--
-- Name: journal_20261130_seq_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.journal_seq ATTACH PARTITION public.journal_20261130_seq_idx;


--
-- Name: journal_20261207_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.journal_pkey ATTACH PARTITION public.journal_20261207_pkey;


--
-- Name: journal_20261207_seq_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.journal_seq ATTACH PARTITION public.journal_20261207_seq_idx;


--
-- Name: journal_20261214_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.journal_pkey ATTACH PARTITION public.journal_20261214_pkey;


--
-- Name: journal_20261214_seq_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.journal_seq ATTACH PARTITION public.journal_20261214_seq_idx;


--
-- Name: journal_20261221_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.journal_pkey ATTACH PARTITION public.journal_20261221_pkey;


--
-- Name: journal_20261221_seq_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.journal_seq ATTACH PARTITION public.journal_20261221_seq_idx;


--
-- Name: journal_20261228_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.journal_pkey ATTACH PARTITION public.journal_20261228_pkey;


--
-- Name: journal_20261228_seq_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.journal_seq ATTACH PARTITION public.journal_20261228_seq_idx;


--
-- Name: journal_rest_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.journal_pkey ATTACH PARTITION public.journal_rest_pkey;


--
-- Name: journal_rest_seq_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.journal_seq ATTACH PARTITION public.journal_rest_seq_idx;


--
-- PostgreSQL database dump complete
--


