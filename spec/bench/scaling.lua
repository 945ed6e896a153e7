-- CPU per event against size: of the stream, of the messages, and of the number of streams on one client.

local meter = require "spec.bench.meter"
local programs = require "spec.bench.programs"

local scaling = { client = {} }

-- Reads `n` events from `streams` streams of one client, each in a task of its own.
function scaling.client.streams(connection, streams, n)
  local wgtwo = require "wgtwo"
  local client = assert(wgtwo.connect(connection))
  local each, first = n // streams, nil
  wgtwo.run(function()
    for _ = 1, streams do
      wgtwo.spawn(function()
        local seen = 0
        for _ in client:events{ types = { "SMS_EVENT" } } do
          first = first or meter.look()
          seen = seen + 1
          if seen == each then break end
        end
      end)
    end
  end)
  return meter.rate(each * streams, first)
end

local function measure_length(bench)
  local counts = { 10000, 100000, 1000000, bench.amount(10000000) }
  if bench.quick then counts = { 10000, 100000 } end
  local n = counts[#counts]
  local source <close> = programs.source{ message = programs.message(311), count = n }
  local run = bench.alternate{
    { "bare", source:bare("stream", 1, n, table.unpack(counts)) },
    { "wgtwo", source:client("memory", "events", n, table.unpack(counts)) },
  }
  for _, count in ipairs(counts) do
    bench.row{ name = ("CPU per event, first %d"):format(count), unit = "us", wgtwo = run.wgtwo("cpu." .. count),
      bare = run.bare("cpu." .. count) }
  end
  bench.row{ name = ("growth from %d to %d, bare: at the first"):format(counts[1], n), unit = "us",
    wgtwo = run.wgtwo("cpu." .. n), bare = run.wgtwo("cpu." .. counts[1]), target = { most = 1.1 } }
end

local function measure_message_size(bench, size, n)
  local source <close> = programs.source{ message = programs.message(size), count = bench.amount(n) }
  local run = bench.alternate{
    { "bare", source:bare("stream", 1, bench.amount(n)) },
    { "wgtwo", source:client("stream", "fields", bench.amount(n)) },
  }
  local name = ("CPU per event of %d bytes"):format(size)
  bench.row{ name = name, unit = "us", wgtwo = run.wgtwo("cpu"), bare = run.bare("cpu") }
end

local function measure_streams(bench, streams, n)
  local source <close> = programs.source{ message = programs.message(311), count = n // streams }
  local run = bench.alternate{
    { "bare", source:bare("stream", streams, n) },
    { "wgtwo", source:client("scaling", "streams", streams, n) },
  }
  local name = ("CPU per event, streams: %d"):format(streams)
  bench.row{ name = name, unit = "us", wgtwo = run.wgtwo("cpu"), bare = run.bare("cpu") }
end

function scaling.measure(bench)
  measure_length(bench)
  for _, case in ipairs{ { 100, 300000 }, { 1024, 300000 }, { 10240, 40000 }, { 102400, 4000 }, { 1048576, 400 } } do
    measure_message_size(bench, case[1], case[2])
  end
  for _, streams in ipairs{ 1, 10, 50, 200 } do measure_streams(bench, streams, bench.amount(400000)) end
end

return scaling
