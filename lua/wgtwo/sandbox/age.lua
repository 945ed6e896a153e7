--- The age of connections, and the time limit of streams.
--
-- The platform ends a connection gracefully after 60 minutes, 6 more or less. Here a connection is a peer address: its
-- age begins with its first call or stream and goes on while it has none. When its time is over, its streams end with
-- OK and it is forgotten, so that what is kept is bounded by the addresses seen in one age; its next call is that of a
-- new connection. Undocumented: with which status. The time runs on the sandbox's clock, so that it can be passed; the
-- socket itself stays, a client reconnects over it or a new one.
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
    if exchange.entry.peer == peer and is_stream(exchange) then found[#found + 1] = exchange end
  end
  table.sort(found, function(a, b) return a.entry.id < b.entry.id end)
  for _, exchange in ipairs(found) do exchange:finish() end
end

--- Begins to watch the ages, or begins again: no connection has one yet.
-- @tparam table sandbox the server
function age.start(sandbox)
  for _, timer in pairs(sandbox.peers or {}) do sandbox.clock:cancel(timer) end
  sandbox.peers = {} -- address → the timer of its end
  sandbox.age_random = random.new(sandbox.settings.seed, "ages")
end

--- A peer calls whose age has not begun.
-- @tparam table sandbox the server
-- @tparam ?string peer nil: the call is over already
function age.begin(sandbox, peer)
  local settings = sandbox.settings
  if settings.connection_age <= 0 or not peer then return end
  local spread = settings.connection_age_spread * (2 * sandbox.age_random:float() - 1)
  sandbox.peers[peer] = sandbox.clock:after(math.max(0, settings.connection_age + spread), function()
    sandbox.peers[peer] = nil
    end_peer(sandbox, peer)
  end)
end

--- A stream was opened.
-- @tparam table sandbox the server
-- @tparam table exchange
function age.opened(sandbox, exchange)
  local limit = sandbox.settings.stream_limit
  if limit > 0 then exchange:after(limit, function() exchange:finish() end) end
end

return age
