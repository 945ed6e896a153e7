--- The age of connections, and the time limit of streams.
--
-- The platform ends a connection gracefully after 60 minutes, 6 more or less. Here a connection is a peer address with
-- open calls; when its time is over, its streams end with OK. Undocumented: with which status. The time runs on the
-- sandbox's clock, so that it can be passed; the socket itself stays, a client reconnects over it or a new one.
--
-- @module wgtwo.sandbox.age

local random = require "wgtwo.sandbox.random"

local age = {}

local function is_stream(exchange)
  return exchange.method.kind ~= "unary"
end

--- Ends all streams of a peer.
local function end_peer(sandbox, peer)
  local found = {}
  for _, exchange in pairs(sandbox.calls.open) do
    if exchange.peer == peer and is_stream(exchange) then found[#found + 1] = exchange end
  end
  table.sort(found, function(a, b) return a.entry.id < b.entry.id end)
  for _, exchange in ipairs(found) do exchange:finish() end
end

--- Begins to watch the ages.
-- @tparam table sandbox the server
function age.start(sandbox)
  sandbox.peers = {} -- address → { streams, timer }
  sandbox.age_random = random.new(sandbox.settings.seed, "ages")
end

--- A stream was opened.
-- @tparam table sandbox the server
-- @tparam table exchange
function age.opened(sandbox, exchange)
  local settings, peer = sandbox.settings, exchange.entry.peer or ""
  exchange.peer = peer
  if settings.stream_limit > 0 then exchange:after(settings.stream_limit, function() exchange:finish() end) end
  if settings.connection_age <= 0 then return end
  local connection = sandbox.peers[peer]
  if not connection then
    connection = { streams = 0 }
    sandbox.peers[peer] = connection
    local spread = settings.connection_age_spread * (2 * sandbox.age_random:float() - 1)
    connection.timer = sandbox.clock:after(math.max(0, settings.connection_age + spread), function()
      sandbox.peers[peer] = nil
      end_peer(sandbox, peer)
    end)
  end
  connection.streams = connection.streams + 1
  exchange.connection = connection
end

--- A stream has ended that belongs to a connection. A connection without streams is forgotten: its next stream
-- begins a new age.
function age.closed(sandbox, exchange)
  local connection = exchange.connection
  connection.streams = connection.streams - 1
  if connection.streams > 0 then return end
  sandbox.clock:cancel(connection.timer)
  if sandbox.peers[exchange.peer] == connection then sandbox.peers[exchange.peer] = nil end
end

return age
