-- From the start of the process: loading the rock, and the first event of a stream.

local programs = require "spec.bench.programs"

local start = { client = {} }

function start.client.first(connection)
  local client = assert(require("wgtwo").connect(connection))
  assert(client:events{ types = { "SMS_EVENT" } }:next())
  return {}
end

function start.measure(bench)
  local times = bench.amount(20)
  local source <close> = programs.source{ message = programs.message(311), count = 1, hold = true }
  local function launch(...) return programs.build .. "/launch", times, ... end
  local run = bench.alternate{
    { "nothing", launch(programs.lua, "-e", "") },
    { "require", launch(programs.lua, "-e", "require 'wgtwo'") },
    { "connect", launch(programs.lua, "-e", "local connect = require('wgtwo').connect") },
    { "bare", launch(source:bare("stream", 1, 1)) },
    { "first", launch(source:client("start", "first")) },
  }
  local function row(name, unit, wgtwo, bare, most)
    local field, scale = unit == "ms" and "wall" or "rss", unit == "ms" and 1 or 1 / 1024
    bench.row{ name = name, unit = unit, wgtwo = run[wgtwo](field, scale), bare = run[bare](field, scale),
      target = most and { of = "value", most = most } }
  end
  row("lua5.4 -e 'require \"wgtwo\"', bare: nothing", "ms", "require", "nothing", 10)
  row("the same, largest resident", "MB", "require", "nothing", 12)
  row("with all that connect needs, bare: nothing", "ms", "connect", "nothing")
  row("the same, largest resident", "MB", "connect", "nothing")
  row("first event of a local stream, and exit", "ms", "first", "bare", 30)
end

return start
