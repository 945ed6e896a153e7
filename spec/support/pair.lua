-- A server and a channel to it in one process, driven through core.poll: for tests of the core alone.

local core = require("wgtwo.core")
local patience = require("spec.support.patience")

local pair = {}

--- A message type whose field 1 is a string: what `message` makes.
local function text_type()
  local path = assert(package.searchpath("wgtwo.api", (package.path:gsub("%.lua", ".binpb"))))
  local file <close> = assert(io.open(path, "rb"))
  return assert(assert(core.schema(file:read("a"))):type("wgtwo.sms.v1.SendTextToSubscriberRequest"))
end

pair.TEXT = text_type()

--- The bytes of a message of type TEXT.
function pair.message(text)
  local length, varint = #text, ""
  repeat
    local low = length & 0x7f
    length = length >> 7
    varint = varint .. string.char(length > 0 and low | 0x80 or low)
  until length == 0
  return "\10" .. varint .. text
end

--- The text of a message.
function pair.text(message)
  local bytes = type(message) == "string" and message or core.bytes(message)
  local at = 2
  while bytes:byte(at) >= 0x80 do at = at + 1 end
  return bytes:sub(at + 1)
end

local list = {}

-- One wait; whether anything had news.
local function poll(seconds)
  local count = core.poll(seconds, list)
  for i = #list, 1, -1 do list[i] = nil end
  return count > 0
end

--- Drives the loop until `condition()` is neither nil nor false, and returns its values.
-- @tparam function condition that need not be announced by an operation
-- @tparam[opt] string what for the error
function pair.until_(condition, what)
  local deadline = core.now() + patience.limit
  while true do
    local results = table.pack(condition())
    if results[1] then return table.unpack(results, 1, results.n) end
    if core.now() > deadline then
      error(("%s did not happen within %d s"):format(what or "what was waited for", patience.limit), 2)
    end
    poll(0.02)
  end
end

--- Waits until an operation has news.
function pair.news(what)
  local deadline = core.now() + patience.limit
  while not poll(math.max(0, deadline - core.now())) do -- it may end early
    if core.now() > deadline then error(("no news of %s within %d s"):format(what, patience.limit), 2) end
  end
end

--- Calls `try()` until it returns something else than false, but after the first time only when an operation had news:
-- so that news that never come are a failure.
function pair.on_news(try, what)
  local results = table.pack(try())
  while results[1] == false do
    pair.news(what)
    results = table.pack(try())
  end
  return table.unpack(results, 1, results.n)
end

--- What op:take(...) gives, once that is no longer false.
function pair.take(op, ...)
  local arguments = table.pack(...)
  return pair.on_news(function() return op:take(table.unpack(arguments, 1, arguments.n)) end, tostring(op))
end

--- The status of a call, once it is there, after all its messages were taken; these come second, as texts.
function pair.finish(call)
  local texts = {}
  for message in function() return (pair.take(call)) end do texts[#texts + 1] = pair.text(message) end
  return pair.on_news(function() return call:status() or false end, "the status"), texts
end

--- Writes, waiting for room.
function pair.write(call, bytes)
  return pair.on_news(function() return call:write(bytes) end, "room for a write")
end

--- Writes a message until the reader's buffers, the windows and the writer's queue are full: until nothing has moved
-- for a while.
-- @treturn int how often it was written
function pair.fill(accepted, bytes)
  local count, still = 0, 0
  while still < 5 do
    still = still + 1
    while accepted:write(bytes) do count, still = count + 1, 0 end
    poll(0.02)
  end
  return count
end

--- Half-closes a client's call, waiting for its last write.
function pair.half_close(call)
  return pair.on_news(function() return call:finish() end, "the end of a write")
end

--- A server that listens on a port that the kernel chose.
-- @tparam[opt] table arguments of gRPC
-- @tparam[opt] string expected a method's path: its calls arrive with their message
-- @treturn server
-- @treturn string target
function pair.server(arguments, expected)
  local server = core.server(arguments)
  local port = assert(server:listen("127.0.0.1:0"))
  if expected then server:expect(expected) end
  server:start()
  return server, "127.0.0.1:" .. port
end

--- A channel in plaintext, and nothing of gRPC's global state in it.
function pair.channel(target, arguments)
  local all = {
    ["grpc.use_local_subchannel_pool"] = 1,
    ["grpc.enable_retries"] = 0,
    ["grpc.enable_http_proxy"] = 0,
    ["grpc.http2.bdp_probe"] = 0,
    ["grpc.http2.lookahead_bytes"] = 1024 * 1024,
  }
  for key, value in pairs(arguments or {}) do all[key] = value end
  return assert(core.channel({ target = target, plaintext = true, args = all }))
end

--- A server and a channel to it.
-- @treturn server
-- @treturn channel
-- @treturn string target
function pair.connected()
  local server, target = pair.server()
  return server, pair.channel(target), target
end

--- Closes a list of operations, then the channel and the server.
function pair.close(open, channel, server)
  for _, op in ipairs(open) do op:close() end
  channel:close()
  server:close()
end

--- Waits until the server's side of a call knows that it was cancelled.
function pair.until_cancelled(accepted)
  pair.until_(function() return accepted:cancelled() end, "the cancellation at the server")
end

--- Starts a call: `kind` and what core.call takes, over what is usual here.
function pair.call(channel, kind, options)
  local all = { path = "/test.Service/Method", kind = kind, reply = pair.TEXT }
  if kind == "unary" or kind == "server" then all.request = pair.message("request") end
  for key, value in pairs(options or {}) do all[key] = value end
  return core.call(channel, all)
end

--- Starts a call and accepts it; both are put into the list `open`, to be closed by whoever keeps it.
-- @treturn call the client's side
-- @treturn server_call the server's
function pair.accepted(channel, server, open, kind, options)
  local call = pair.call(channel, kind, options)
  open[#open + 1] = call
  local accepted = pair.take(server)
  open[#open + 1] = accepted
  return call, accepted
end

return pair
