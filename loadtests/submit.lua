-- Load for wrk: submits of changing scores, made while the test runs.
--
-- Arguments after "--": KIND MEMBERS ITEMS SEED.
--   KIND     single (one JSON submit a request), ndjson or msgpack (a batch of ITEMS a request)
--   MEMBERS  members "player-0" ... are drawn at random from so many
--   SEED     of the random numbers: the same seed gives the same bodies
--
-- The last line of output is one JSON object with counts, the duration and latencies in microseconds.

local LARGEST_SCORE = 2147483647
local MEDIA = {
  single = "application/json",
  ndjson = "application/x-ndjson",
  msgpack = "application/msgpack",
}

local head, body, members, items

local function draw()
  return "player-" .. math.random(0, members - 1), math.random(1, LARGEST_SCORE)
end

local function json()
  local member, score = draw()
  return '{"member":"' .. member .. '","score":' .. score .. "}"
end

local function lines()
  local made = {}
  for i = 1, items do
    made[i] = json()
  end
  return table.concat(made, "\n")
end

-- A number of so many bytes, the highest byte first.
local function bytes(number, count)
  local made = ""
  for _ = 1, count do
    made = string.char(number % 256) .. made
    number = math.floor(number / 256)
  end
  return made
end

local function packed()
  local made = { string.char(0xdc) .. bytes(items, 2) } -- array of a 16-bit length
  for i = 1, items do
    local member, score = draw()
    made[i + 1] = "\130\166member" -- map of two; text of six bytes
      .. string.char(0xa0 + #member) .. member
      .. "\165score\206" .. bytes(score, 4) -- text of five bytes; 32-bit unsigned number
  end
  return table.concat(made)
end

function init(args)
  local kind = args[1]
  members, items = tonumber(args[2]), tonumber(args[3])
  math.randomseed(tonumber(args[4]))
  body = ({ single = json, ndjson = lines, msgpack = packed })[kind]
  head = "POST " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"]
    .. "\r\nContent-Type: " .. MEDIA[kind] .. "\r\nContent-Length: "
end

function request()
  local made = body()
  return head .. #made .. "\r\n\r\n" .. made
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"refused":%d,"socket_errors":%d,"timeouts":%d,'
      .. '"p50_us":%.0f,"p99_us":%.0f,"max_us":%.0f}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write, errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max
  ))
end
