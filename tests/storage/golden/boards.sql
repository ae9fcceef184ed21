BEGIN TRANSACTION;
CREATE TABLE boards (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    score   TEXT NOT NULL,     -- int64 | float64
    "order" TEXT NOT NULL,     -- desc | asc
    policy  TEXT NOT NULL,     -- best | last | sum
    ties    TEXT NOT NULL,     -- first | last | member
    seed    BLOB NOT NULL,
    version INTEGER NOT NULL
) STRICT;
INSERT INTO "boards" VALUES(516180239448529788,'last','float64','asc','last','last',X'5542C9B1CEFAE897546EDF75534A1E05',5);
INSERT INTO "boards" VALUES(762673917479888252,'dropped','int64','desc','best','first',X'E12FE92E3EAAFB46D4D2775D55446F74',1);
INSERT INTO "boards" VALUES(4623438178878035515,'best','int64','desc','best','first',X'D7973429AAD037EE47E28F10E804FFA6',6);
INSERT INTO "boards" VALUES(6749222021928796510,'sum','int64','desc','sum','member',X'7179CA60809FABA51308D3DA34F89306',5);
CREATE TABLE members (
    board      INTEGER NOT NULL,
    member     TEXT NOT NULL,
    score      ANY,            -- for people; NULL for a member that was removed
    code       INTEGER,        -- the score as an integer that sorts best first
    stamp      INTEGER,        -- when it was reached: milliseconds since the year 1, times 65536
    generation INTEGER NOT NULL,
    PRIMARY KEY (board, member)
) STRICT, WITHOUT ROWID;
INSERT INTO "members" VALUES(516180239448529788,'ann',0.0,0,4072118471884800000,0);
INSERT INTO "members" VALUES(516180239448529788,'bob',-1.5,-4609434218613702657,4072118471819264000,0);
INSERT INTO "members" VALUES(516180239448529788,'tiny',4.94065645841247e-324,1,4189789005536362496,0);
INSERT INTO "members" VALUES(516180239448529788,'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',-4.5,-4616752568008179713,4072118471688192000,0);
INSERT INTO "members" VALUES(516180239448529788,'日本',-3.0,-4613937818241073153,4072118471753728000,0);
INSERT INTO "members" VALUES(762673917479888252,'ann',1,-2,4189789005536624640,0);
INSERT INTO "members" VALUES(4623438178878035515,'-9223372036854775808',-9223372036854775808,9223372036854775807,4189789005536165888,0);
INSERT INTO "members" VALUES(4623438178878035515,'9223372036854775807',9223372036854775807,-9223372036854775808,4189789005536165889,0);
INSERT INTO "members" VALUES(4623438178878035515,'ann',7,-8,4189789005534658560,0);
INSERT INTO "members" VALUES(4623438178878035515,'bob',7,-8,4189789005535117312,0);
INSERT INTO "members" VALUES(4623438178878035515,'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',7,-8,4189789005535838208,0);
INSERT INTO "members" VALUES(4623438178878035515,'日本',7,-8,4189789005535379456,0);
INSERT INTO "members" VALUES(6749222021928796510,'ann',4611686018427387904,-4611686018427387905,4189789005534920704,0);
INSERT INTO "members" VALUES(6749222021928796510,'bob',NULL,NULL,NULL,1);
INSERT INTO "members" VALUES(6749222021928796510,'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',4611686018427387904,-4611686018427387905,4189789005536100352,0);
INSERT INTO "members" VALUES(6749222021928796510,'日本',4611686018427387904,-4611686018427387905,4189789005535707136,0);
CREATE TABLE progress (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    journal_seq INTEGER NOT NULL
) STRICT;
INSERT INTO "progress" VALUES(1,21);
CREATE TABLE schema_migrations (
    number     INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT
;
INSERT INTO "schema_migrations" VALUES(1,'0001_boards.sql','50394e1e34e9d725a2159cf5450df40efb7a1bd7f283097b4f7f736cc063ef8e','2026-11-24 08:44:11');
CREATE TABLE vector (
    origin INTEGER PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT;
INSERT INTO "vector" VALUES(3496618971696282284,21);
CREATE VIEW standings AS
SELECT boards.name AS board,
       row_number() OVER (
           PARTITION BY boards.id
           ORDER BY members.code,
                    CASE boards.ties WHEN 'first' THEN members.stamp
                                     WHEN 'last' THEN -members.stamp END,
                    members.member
       ) AS rank,
       members.member,
       members.score
FROM members JOIN boards ON boards.id = members.board
WHERE members.code IS NOT NULL;
COMMIT;
