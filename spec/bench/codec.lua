-- A message without a network: decode and read three fields, in C and from Lua, encode from a table; against
-- protobuf-c's unpack and pack.

local meter = require "spec.bench.meter"
local programs = require "spec.bench.programs"
local fields = require("spec.bench.stream").fields

local codec = { client = {} }

local TYPE = "wgtwo.events.v0.SubscribeEventsResponse"

-- ns for one of n turns of f.
local function nanoseconds(n, f)
  local begun = meter.look()
  for _ = 1, n do f() end
  return meter.rate(n, begun).cpu * 1000
end

function codec.client.codec(_, n, path)
  local message = require "wgtwo.message"
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("a")
  file:close()
  local decode, encode, totable = message.decode, message.encode, message.totable
  local tree = totable(decode(TYPE, bytes))
  return {
    read = nanoseconds(n, function() return fields(decode(TYPE, bytes).event) end),
    decode = nanoseconds(n, function() return decode(TYPE, bytes) end),
    pack = nanoseconds(n, function() return encode(TYPE, tree) end),
    totable = nanoseconds(n, function() return totable(decode(TYPE, bytes)) end),
  }
end

function codec.measure(bench)
  local n, message = bench.amount(500000), programs.message(311)
  local set = assert(package.searchpath("wgtwo.api", (package.path:gsub("%.lua", ".binpb"))))
  local run = bench.alternate{
    { "bare", programs.build .. "/codec", message, n, set },
    { "wgtwo", programs.lua, "spec/bench/client.lua", "codec", "codec", "-", "-", n, message },
  }
  local function row(name, own, bare, most)
    local target = most and { most = most }
    bench.row{ name = name, unit = "ns", wgtwo = own, bare = run.bare(bare), target = target }
  end
  row("decode, three fields read, in the core", run.bare("read"), "unpack", 0.4)
  row("decode, three fields read, from Lua", run.wgtwo("read"), "unpack", 0.4)
  row("decode alone, from Lua", run.wgtwo("decode"), "unpack")
  row("decode and totable, from Lua", run.wgtwo("totable"), "unpack")
  row("encode from a table, from Lua", run.wgtwo("pack"), "pack", 2.5)
end

return codec
