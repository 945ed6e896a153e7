-- The sandbox: how many events it sends and takes acknowledgements for on this machine, together with its clients, and
-- how many when it makes them up meanwhile; how long it takes to start; what it does while nothing happens.

local core = require "wgtwo.core"
local meter = require "spec.bench.meter"
local programs = require "spec.bench.programs"

local sandbox = { client = {} }

local RATE = 25000 -- events a second that it is asked to make up: more than come through
local IDLE_SECONDS = 4

-- One member of a queue. The time begins with the first event, and ends with the last acknowledgement.
function sandbox.client.acknowledge(connection, n)
  local client = assert(require("wgtwo").connect(connection))
  local events = client:events{ types = { "SMS_EVENT" }, queue = "bench", max_in_flight = 200,
    start = "oldest" }
  local first, began
  for seen = 1, n do
    local event = assert(events:next())
    first, began = first or meter.look(), began or core.now()
    event:ack()
    if seen == n then break end
  end
  assert(events:close())
  local result = meter.rate(n, first)
  result.began, result.ended = began, core.now()
  return result
end

--- A sandbox that makes up events all the time, or one that has made up n.
local function start_with(n, backlog)
  local plan = { types = { "SMS_EVENT" }, rate = RATE }
  local running = assert(require("wgtwo").sandbox.start{ clock = backlog and "virtual" or "real", generate = plan })
  if backlog then
    for _ = 1, 4 do assert(running:advance(n / RATE / 4 + 0.1)) end
    assert(running:generate{})
  end
  return running
end

--- One run: clients that share the events.
local function run(n, clients, secure, backlog)
  local running <close> = start_with(n, backlog)
  local began, ended = math.huge, 0
  for _, seen in ipairs(programs.run_copies(clients, programs.lua, "spec/bench/client.lua", "sandbox", "acknowledge",
    secure and running.target or running.plaintext_target, secure and running.ca_file or "-", n // clients)) do
    began, ended = math.min(began, seen.began), math.max(ended, seen.ended)
  end
  return { rate = n / (ended - began) }
end

local function start()
  local before = core.now()
  local running <close> = assert(require("wgtwo").sandbox.start{})
  return { ms = (core.now() - before) * 1000, pid = running.pid }
end

local function cpu_of(pid)
  local file <close> = assert(io.open(("/proc/%d/stat"):format(pid)))
  local user, system = file:read("a"):match("^%d+ %b() %S" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  return (user + system) * 10 -- ms
end

local function idle()
  local running <close> = assert(require("wgtwo").sandbox.start{})
  os.execute("sleep 1") -- what the beginning leaves to do
  local before = cpu_of(running.pid)
  os.execute(("sleep %d"):format(IDLE_SECONDS))
  return { ms = (cpu_of(running.pid) - before) / IDLE_SECONDS }
end

function sandbox.measure(bench)
  local n = bench.amount(80000)
  local results = bench.alternate{
    { "one", run, n, 1, false, true }, { "two", run, n, 2, false, true }, { "secure", run, n, 1, true, true },
    { "made", run, n, 1, false, false }, { "start", start }, { "idle", idle },
  }
  local function row(name, unit, what, field, target)
    if target then target.of = "value" end
    bench.row{ name = name, unit = unit, wgtwo = results[what](field), target = target }
  end
  row("events with acks, one client, plaintext", "events/s", "one", "rate", { least = 20000 })
  row("events with acks, two clients, plaintext", "events/s", "two", "rate", { least = 20000 })
  row("events with acks, one client, TLS", "events/s", "secure", "rate", { least = 20000 })
  row("events made up meanwhile, one client, plaintext", "events/s", "made", "rate")
  row("start until ready", "ms", "start", "ms", { most = 200 })
  row("CPU while idle, of a second", "ms", "idle", "ms", { most = 5 })
end

return sandbox
