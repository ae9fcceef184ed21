//! What `--help` says.

/// How the program is used.
pub(crate) const HELP: &str = "\
Load generator and judge of Rankwire's live views.

  rankwire-swarm watch   watchers that check all they get; latency, bytes, server's processor time
  rankwire-swarm idle    the server's memory and processor time with more and more idle watchers
  rankwire-swarm storm   watchers that all come back at once beside some that stay
  rankwire-swarm submit  durable submits over WebSocket, pipelined
  rankwire-swarm bare    plain send() to many sockets, as a reference
  rankwire-swarm sink    the receivers for bare

Watchers (watch, idle, storm):
  --url URL[,URL...]     where to connect: ws://HOST:PORT/connection/websocket
  --sockets N            watchers in all (1000)
  --processes M          processes that hold them (2)
  --mix SPEC             who watches what, or @FILE (board:global:top:10)
  --members N            users behind {member} in the mix (25000)
  --cohorts N            cohorts behind {cohort} in the mix (250)
  --encoding json|protobuf|plain   (json); plain: bare JSON in text frames from the handshake on,
                         each a state of the one channel that fills {channel} in the URL
  --first-state sent|none   whether a state follows a subscription at once (sent)
  --delta                ask for deltas
  --token T              token of every watcher
  --tokens FILE          tokens of users 0, 1, ..., one a line
  --ramp N               new sockets a second in all (2000)
  --in-flight N          sockets on their way to their first state, for each process (256)
  --server-pid [NAME=]P[,...]   measure these processes
  --output text|json     (text)

watch, storm:
  --seconds S            how long to measure (10)
  --http URL[,URL...]    the HTTP API: for submits and reads in turns, for the rest the first
  --key K                API key for the HTTP API and for RPC
  --drive RATE           submits a second; 0 as fast as receipts come; absent for none
  --drive-over http|ws   (http)
  --drive-connections N  connections of the driver, each with one submit at a time (1)
  --drive-board NAME     submits change the top of this board all the time (global)
  --submits FILE         submit these instead: JSON lines of board, member, score
  --probe-ms N           an RPC `rank` every so often on a connection of its own
  --timed-by version|content   how a delivery is traced to its submit (version); by the scores that
                         it shows as the first, where several nodes count versions
  --stale S              deliveries later than this are counted (5)
watch:
  --submits-ws FILE --drive-ws RATE [--drive-ws-connections N]
                         submits over WebSocket beside those of --drive, over all URLs in turns
  --reads RATE           HTTP reads a second: 4 of 10 the ten best, half of them of the board of
                         --drive-board, half of a cohort's; 3 around a member; 3 of a member
  --reads-connections N  connections of the reads, each with one at a time (64)
  --phases NAME:S:FACTOR[,...]   instead of --seconds: rates times FACTOR in each phase
  --churn N              sockets a minute that close and come back
  --slow N:S             N sockets stop reading for S seconds from the second phase on; they are
                         not timed, and come back if they are closed
  --cut PHASE:STAY       at its beginning all sockets but STAY are dropped and come back
  --at PHASE:METHOD:PATH[:BODY]   an HTTP request at its beginning; BODY is a JSON object or array
storm:
  --stay K               watchers that stay (1000)
storm, watch --cut:
  --at-once N            reconnects on their way at the same time (all)
idle:
  --steps N,N,...        watchers at each step (1000,5000,10000,15000,19000)
  --seconds S            processor time is measured so long at the last step (10)
submit:
  --url --sockets --encoding --token --seconds --output, and
  --in-flight N          submits on their way for each socket (64)
  --board NAME           (bench)
  --members N            members player-0 ... are drawn from so many (25000)
  --server-pid P
bare, sink:
  --port P  --sockets N  --processes M (sink)
  --bytes B              bytes of one send() (400)
  --rounds R             rounds over all sockets (100)
  --turns                bare: measure once for each line on standard input
";
