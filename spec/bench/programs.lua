-- The programs that a benchmark starts: the source, the bare client, and Lua clients, each a process of its own.

local programs = { build = ".build/bench", lua = "lua5.4" }

local LIMIT_SECONDS = 90

local function quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

local function command_line(words)
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = quote(word) end
  return table.concat(quoted, " ")
end

-- "rate=12.5 rss=1000" as a table of numbers; other values stay text.
local function pairs_of(text)
  local result = {}
  for name, value in text:gmatch("([%w_.]+)=(%S+)") do result[name] = tonumber(value) or value end
  return result
end

local function open(words)
  local line = command_line(words)
  return { line = line, pipe = assert(io.popen(("exec timeout -k 1 %d %s"):format(LIMIT_SECONDS, line))) }
end

local function finish(program)
  local text = program.pipe:read("a")
  local ok, how, code = program.pipe:close()
  if not ok then error(("%s: %s %d"):format(program.line, how == "signal" and how or "exit code", code), 0) end
  return pairs_of(text)
end

--- Runs a program to its end, and returns the name=value pairs that it printed. Raises when it fails or takes too long.
function programs.run(...)
  return finish(open{ ... })
end

--- Runs so many of a program side by side, each to its end.
-- @treturn table what each has printed
function programs.run_copies(count, ...)
  local running, results = {}, {}
  for i = 1, count do running[i] = open{ ... } end
  for i, program in ipairs(running) do results[i] = finish(program) end
  return results
end

--- A program that prints one line and then goes on until it is closed.
-- @treturn table `line`, `pairs` (of that line), and a close method
function programs.start(...)
  local line = command_line({ ... })
  local pipe = assert(io.popen("exec " .. line))
  local first = pipe:read("l")
  if not first then error(line .. ": ended at once", 0) end
  local process = { line = first, pairs = pairs_of(first) }
  function process.close()
    os.execute(("kill %d"):format(process.pid))
    pipe:close()
  end
  process.pid = process.pairs.pid or math.tointeger(tonumber(first:match("%d+$")))
  return setmetatable(process, { __close = process.close })
end

--- What names a bare client is given, and what a Lua client of `group` is given.
local Source = {}
Source.__index = Source

function Source:bare(what, ...)
  return programs.build .. "/bare", what, self.target, self.ca_file or "-", ...
end

function Source:client(group, what, ...)
  return programs.lua, "spec/bench/client.lua", group, what, self.target, self.ca_file or "-", ...
end

function Source:close() self.process.close() end

Source.__close = Source.close

--- An event source.
-- @tparam table o `message` (file), `count` of a stream's messages, `delay` of other answers in seconds, `hold`:
-- streams stay open after their last message, `tls`
-- @treturn Source
function programs.source(o)
  local words = { programs.build .. "/source", o.message, o.count, (o.delay or 0) * 1000, o.hold and "hold" or "end" }
  local certificate = o.tls and programs.certificate()
  if certificate then
    words[#words + 1] = certificate.cert
    words[#words + 1] = certificate.key
  end
  local process = programs.start(table.unpack(words))
  return setmetatable({
    process = process,
    target = "localhost:" .. process.line:match("^%d+"),
    ca_file = certificate and certificate.cert,
  }, Source)
end

local certificate

--- A certificate for localhost, made once.
function programs.certificate()
  if certificate then return certificate end
  local made = { cert = programs.build .. "/cert.pem", key = programs.build .. "/key.pem" }
  local words = {
    "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", made.key, "-out", made.cert,
  }
  assert(os.execute(command_line(words) .. " 2>/dev/null"), "openssl cannot make a certificate")
  certificate = made
  return made
end

-- Events as protoc reads them, and their bytes around a text of a usual length.
local SMS_EVENT = { bytes = 188, text = [[
event {
  metadata { sequence: 12345 ack_inbox: "_INBOX.abcdefghijklmnopqrstuv.xyz" }
  timestamp { seconds: 1700000000 nanos: 123000000 }
  sms_event {
    id: "3990fb66-eea0-42ef-9699-1af05516ce00"
    from_e164 { e164: "+46724450024" }
    to_e164 { e164: "+4799977540" }
    direction: FROM_SUBSCRIBER
    text: "TEXT"
    uuid: "b922f707-f6ce-4369-b816-1051bfa40e0d"
  }
  owner { phone_number { e164: "+46724450024" } }
}
]] }
local SMALL_EVENT = { bytes = 94, text = [[
event {
  metadata { sequence: 12345 ack_inbox: "_INBOX.abcdefghijklmnopqrstuv.xyz" }
  timestamp { seconds: 1700000000 }
  sms_event { from_e164 { e164: "+46724450024" } text: "TEXT" }
  owner { phone_number { e164: "+46724450024" } }
}
]] }

--- A file with one SMS event of about so many bytes, packed by protoc.
function programs.message(size)
  local event = size > SMS_EVENT.bytes and SMS_EVENT or SMALL_EVENT
  local path = ("%s/event-%d"):format(programs.build, size)
  local file = assert(io.open(path .. ".txt", "w"))
  file:write((event.text:gsub("TEXT", ("x"):rep(math.max(0, size - event.bytes)))))
  file:close()
  local command = command_line{
    "protoc", "-Iproto", "--encode=wgtwo.events.v0.SubscribeEventsResponse", "wgtwo/events/v0/events.proto",
  }
  assert(os.execute(("%s <%s >%s"):format(command, quote(path .. ".txt"), quote(path .. ".binpb"))),
    "protoc cannot pack the event")
  return path .. ".binpb"
end

return programs
