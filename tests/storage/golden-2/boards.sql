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
, player_submits INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "boards" VALUES(3349735847202845055,'sum','int64','desc','sum','member',X'B0F229839ADEA6A287B23E086E946351',5,0);
INSERT INTO "boards" VALUES(3378148240786479801,'best','int64','desc','best','first',X'D6211091DBEBCD307E4FB00613F26B6F',6,0);
INSERT INTO "boards" VALUES(5392201970513486600,'players','int64','desc','best','first',X'BBA450260544AC35C1C1F220886250B2',0,1);
INSERT INTO "boards" VALUES(5943848100109537266,'last','float64','asc','last','last',X'4E895D4657CC5EAB4FFCBF46B6933FC7',5,0);
INSERT INTO "boards" VALUES(6433279411192284435,'dropped','int64','desc','best','first',X'D6A4A3C170BC28365AC6EA738987DBC6',1,0);
CREATE TABLE members (
    board      INTEGER NOT NULL,
    member     TEXT NOT NULL,
    score      ANY,            -- for people; NULL for a member that was removed
    code       INTEGER,        -- the score as an integer that sorts best first
    stamp      INTEGER,        -- when it was reached: milliseconds since the year 1, times 65536
    generation INTEGER NOT NULL,
    PRIMARY KEY (board, member)
) STRICT, WITHOUT ROWID;
INSERT INTO "members" VALUES(3349735847202845055,'ann',4611686018427387904,-4611686018427387905,4189790353821270016,0);
INSERT INTO "members" VALUES(3349735847202845055,'bob',NULL,NULL,NULL,1);
INSERT INTO "members" VALUES(3349735847202845055,'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',4611686018427387904,-4611686018427387905,4189790353821401088,0);
INSERT INTO "members" VALUES(3349735847202845055,'日本',4611686018427387904,-4611686018427387905,4189790353821335553,0);
INSERT INTO "members" VALUES(3378148240786479801,'-9223372036854775808',-9223372036854775808,9223372036854775807,4189790353821401089,0);
INSERT INTO "members" VALUES(3378148240786479801,'9223372036854775807',9223372036854775807,-9223372036854775808,4189790353821401090,0);
INSERT INTO "members" VALUES(3378148240786479801,'ann',7,-8,4189790353821204480,0);
INSERT INTO "members" VALUES(3378148240786479801,'bob',7,-8,4189790353821270017,0);
INSERT INTO "members" VALUES(3378148240786479801,'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',7,-8,4189790353821335554,0);
INSERT INTO "members" VALUES(3378148240786479801,'日本',7,-8,4189790353821335552,0);
INSERT INTO "members" VALUES(5943848100109537266,'ann',0.0,0,4072118471884800000,0);
INSERT INTO "members" VALUES(5943848100109537266,'bob',-1.5,-4609434218613702657,4072118471819264000,0);
INSERT INTO "members" VALUES(5943848100109537266,'tiny',4.94065645841247e-324,1,4189790353821401091,0);
INSERT INTO "members" VALUES(5943848100109537266,'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',-4.5,-4616752568008179713,4072118471688192000,0);
INSERT INTO "members" VALUES(5943848100109537266,'日本',-3.0,-4613937818241073153,4072118471753728000,0);
INSERT INTO "members" VALUES(6433279411192284435,'ann',1,-2,4189790353821466624,0);
CREATE TABLE progress (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    journal_seq INTEGER NOT NULL
) STRICT;
INSERT INTO "progress" VALUES(1,22);
CREATE TABLE schema_migrations (
    number     INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT
;
INSERT INTO "schema_migrations" VALUES(1,'0001_boards.sql','50394e1e34e9d725a2159cf5450df40efb7a1bd7f283097b4f7f736cc063ef8e','2026-11-24 14:27:05');
INSERT INTO "schema_migrations" VALUES(2,'0002_player_submits.sql','d88d82061069fd0e20b2e26512f6bc6f00e8e6a32b618289e053c82b2878e983','2026-11-24 14:27:05');
CREATE TABLE vector (
    origin INTEGER PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT;
INSERT INTO "vector" VALUES(5001339917465014715,22);
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
