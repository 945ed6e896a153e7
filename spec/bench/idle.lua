-- What a stream costs while nothing comes: wake-ups of all threads of the process, as the kernel counts them.

local meter = require "spec.bench.meter"
local programs = require "spec.bench.programs"

local idle = { client = {} }

local SECONDS = 4

-- Subscribes, says so when the first event was acknowledged, and waits for another.
function idle.client.wait(connection)
  local client = assert(require("wgtwo").connect(connection))
  local events = client:events{ types = { "SMS_EVENT" }, queue = "bench" }
  assert(assert(events:next()):ack{ wait = true })
  meter.print{ pid = io.open("/proc/self/stat"):read("n") }
  events:next()
end

local function switches(pid)
  local pipe <close> = assert(io.popen(("cat /proc/%d/task/*/status"):format(pid)))
  local count = 0
  for line in pipe:lines() do count = count + (tonumber(line:match("voluntary_ctxt_switches:%s*(%d+)")) or 0) end
  return count
end

local function sleep(seconds)
  os.execute(("sleep %g"):format(seconds))
end

local function wake_ups(...)
  local process <close> = programs.start(...)
  sleep(1) -- what the beginning leaves to do
  local before = switches(process.pid)
  sleep(SECONDS)
  return { rate = (switches(process.pid) - before) / SECONDS }
end

function idle.measure(bench)
  local source <close> = programs.source{ message = programs.message(311), count = 1, hold = true }
  local run = bench.alternate{
    { "bare", wake_ups, source:bare("hold", 1) },
    { "wgtwo", wake_ups, source:client("idle", "wait") },
  }
  bench.row{ name = "an open stream", unit = "wake-ups/s", wgtwo = run.wgtwo("rate"), bare = run.bare("rate"),
    target = { of = "value", most = 5 } }
end

return idle
