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
-- Name: archived; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.archived (
    single boolean DEFAULT true NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT archived_single_check CHECK (single)
);


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
-- Name: holds; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.holds (
    id bigint NOT NULL,
    reason text NOT NULL,
    placed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: holds_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.holds ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.holds_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
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
\\xad8a16e39e8cc2de573fc2875d535b05	\\xa01ac432fbdd0789908007ff78e1649d	\\x007b22626f617264223a2262657374222c226d656d626572223a226b65796564222c2273636f7265223a352c2272616e6b223a352c2270726576696f75735f73636f7265223a6e756c6c2c2270726576696f75735f72616e6b223a6e756c6c2c226368616e676564223a747275652c2276657273696f6e223a387d	2026-11-30 21:11:34.287282+00
\.


--
-- Data for Name: archived; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.archived (single, since) FROM stdin;
\.


--
-- Data for Name: boards; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.boards (id, name, score, "order", policy, ties, seed, version, player_submits) FROM stdin;
8952479030907832974	best	int64	desc	best	first	\\x7df43bc627bbe5f6f60ba4813b14cec8	6	f
4846026204835739408	last	float64	asc	last	last	\\x6ce4702fec68c6bbe3fe0017e875ec7a	4	f
7893018677260961658	sum	int64	desc	sum	member	\\xd94f8df52208624cc33042191dc3df6b	5	f
\.


--
-- Data for Name: cluster; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.cluster (single, id) FROM stdin;
t	8cdc2756073049738ca244201621112c
\.


--
-- Data for Name: dropped; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.dropped (board, dropped_at) FROM stdin;
7014200039032336744	2026-11-30 21:11:34.28273+00
\.


--
-- Data for Name: holds; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.holds (id, reason, placed_at) FROM stdin;
\.


--
-- Data for Name: journal_20261130; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.journal_20261130 (seq, origin, number, committed_at, batch) FROM stdin;
1	5268469994794369992	1	2026-11-30 21:11:34.267724+00	\\x0201000000018e0a65103f983d7c046265737400000000007df43bc627bbe5f6f60ba4813b14cec847fc3bcf
2	5268469994794369992	2	2026-11-30 21:11:34.268819+00	\\x02010000000110f7776f288b4043046c61737401010101006ce4702fec68c6bbe3fe0017e875ec7aff3ef2ff
3	5268469994794369992	3	2026-11-30 21:11:34.269395+00	\\x0201000000017ac7a9ffaaa2896d0373756d0000020200d94f8df52208624cc33042191dc3df6bf96b8614
4	5268469994794369992	4	2026-11-30 21:11:34.269905+00	\\x02010000000168b10dcec571576104676f6e650000000000bc764e17582e6accfa9cabce58b6876ce21954e0
5	5268469994794369992	5	2026-11-30 21:11:34.270327+00	\\x0201000000038e0a65103f983d7c03616e6e070000000000000000007e547940253a0000000070906d83
6	5268469994794369992	6	2026-11-30 21:11:34.270601+00	\\x02010000000310f7776f288b404303616e6e000000000000000001007e547940253a00000000ea93a56d
7	5268469994794369992	7	2026-11-30 21:11:34.270837+00	\\x0201000000037ac7a9ffaaa2896d03616e6e000000000000002002007e547940253a0000000060a7ef32
8	5268469994794369992	8	2026-11-30 21:11:34.271082+00	\\x0201000000038e0a65103f983d7c03626f62070000000000000000007f547940253a00000000fa885929
9	5268469994794369992	9	2026-11-30 21:11:34.271343+00	\\x02010000000310f7776f288b404303626f62000000000000f8bf01007f547940253a00000000dae324e2
10	5268469994794369992	10	2026-11-30 21:11:34.271639+00	\\x0201000000037ac7a9ffaaa2896d03626f62000000000000002002007f547940253a00000000eabfdb98
11	5268469994794369992	11	2026-11-30 21:11:34.271921+00	\\x0201000000038e0a65103f983d7c06e697a5e69cac070000000000000003007f547940253a0000000065797785
12	5268469994794369992	12	2026-11-30 21:11:34.272125+00	\\x02010000000310f7776f288b404306e697a5e69cac00000000000008c0000080547940253a00000000d8a1f30d
13	5268469994794369992	13	2026-11-30 21:11:34.272321+00	\\x0201000000037ac7a9ffaaa2896d06e697a5e69cac0000000000000020010080547940253a00000000bcd855cc
14	5268469994794369992	14	2026-11-30 21:11:34.272508+00	\\x0201000000038e0a65103f983d7c8078787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878780700000000000000020080547940253a00000000b6e636eb
15	5268469994794369992	15	2026-11-30 21:11:34.27269+00	\\x02010000000310f7776f288b404380787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787800000000000012c0030080547940253a000000000bb538ed
16	5268469994794369992	16	2026-11-30 21:11:34.272867+00	\\x0201000000037ac7a9ffaaa2896d8078787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878780000000000000020040080547940253a0000000053e19d14
17	5268469994794369992	17	2026-11-30 21:11:34.273043+00	\\x0201000000038e0a65103f983d7c142d393232333337323033363835343737353830380000000000000080000081547940253a00000000e949aad4
18	5268469994794369992	18	2026-11-30 21:11:34.273224+00	\\x0201000000038e0a65103f983d7c1339323233333732303336383534373735383037ffffffffffffff7f010081547940253a000000002421b308
19	5268469994794369992	19	2026-11-30 21:11:34.2734+00	\\x02010000000368b10dcec571576103616e6e0100000000000000020081547940253a00000000257f7545
20	5268469994794369992	20	2026-11-30 21:11:34.273578+00	\\x0201000000047ac7a9ffaaa2896d03626f62010000004980b0cf
21	5268469994794369992	21	2026-11-30 21:11:34.274057+00	\\x02010000000268b10dcec5715761e6a263d8
22	5268469994794369992	22	2026-11-30 21:11:34.285914+00	\\x020100000001396c39c75ad9d83a04676f6e65000101000053639575290960e2a665618b3675f6da3222eed1
23	5268469994794369992	23	2026-11-30 21:11:34.286275+00	\\x020100000003396c39c75ad9d83a03626f62020000000000000000008e547940253a0000000082914f01
24	5268469994794369992	24	2026-11-30 21:11:34.286516+00	\\x0201000000037ac7a9ffaaa2896d03626f62030000000000000001008e547940253a01000000f57c6eda
25	5268469994794369992	25	2026-11-30 21:11:34.286721+00	\\x0201000000048e0a65103f983d7c03616e6e010000005e067049
26	5268469994794369992	26	2026-11-30 21:11:34.286916+00	\\x02010000000310f7776f288b40430474696e79010000000000000002008e547940253a00000000dcc06014
27	5268469994794369992	27	2026-11-30 21:11:34.28755+00	\\x0201000000038e0a65103f983d7c056b65796564050000000000000000008f547940253a000000008cd9fc1f
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
8952479030907832974	xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx	7	-8	4189825918191009794	0
8952479030907832974	bob	7	-8	4189825918190944256	0
8952479030907832974	9223372036854775807	9.223372036854776e+18	-9223372036854775808	4189825918191075329	0
8952479030907832974	ann	7	-8	4189825918190878720	0
8952479030907832974	日本	7	-8	4189825918190944259	0
8952479030907832974	-9223372036854775808	-9.223372036854776e+18	9223372036854775807	4189825918191075328	0
4846026204835739408	ann	0	0	4189825918190878721	0
4846026204835739408	bob	-1.5	-4609434218613702657	4189825918190944257	0
4846026204835739408	xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx	-4.5	-4616752568008179713	4189825918191009795	0
4846026204835739408	日本	-3	-4613937818241073153	4189825918191009792	0
7893018677260961658	ann	2.305843009213694e+18	-2305843009213693953	4189825918190878722	0
7893018677260961658	日本	2.305843009213694e+18	-2305843009213693953	4189825918191009793	0
7893018677260961658	xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx	2.305843009213694e+18	-2305843009213693953	4189825918191009796	0
7893018677260961658	bob	\N	\N	\N	1
\.


--
-- Data for Name: names; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.names (name, board) FROM stdin;
best	8952479030907832974
last	4846026204835739408
sum	7893018677260961658
gone	4240378033082035257
\.


--
-- Data for Name: origins; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.origins (origin, node, started_at, proved_at, last) FROM stdin;
5268469994794369992	vm:21685	2026-11-30 21:11:34.251745+00	2026-11-30 21:11:34.251745+00	27
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
1	0001_postgres.sql	371ed4837c7237cf0771179faed317dcb1e5b9cbb86c7ffabf78d679ad5299b1	2026-11-30 21:11:34.237869+00
2	0002_holds.sql	97518b150a88f603b412f31a65c6895465a2b2158d90ca354d284a724252e2c6	2026-11-30 21:11:34.242882+00
\.


--
-- Data for Name: vector; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.vector (origin, number) FROM stdin;
5268469994794369992	21
\.


--
-- Name: holds_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.holds_id_seq', 1, false);


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
-- Name: archived archived_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.archived
    ADD CONSTRAINT archived_pkey PRIMARY KEY (single);


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
-- Name: holds holds_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.holds
    ADD CONSTRAINT holds_pkey PRIMARY KEY (id);


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


