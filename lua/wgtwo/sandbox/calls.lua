--- Calls: from the server's port to the route that serves them.
--
-- @module wgtwo.sandbox.calls

local age = require "wgtwo.sandbox.age"
local authorization = require "wgtwo.sandbox.authorization"
local exchange = require "wgtwo.sandbox.exchange"
local status = require "wgtwo.sandbox.status"

local Calls = {}
Calls.__index = Calls

local calls = {}

-- Calls whose acknowledgements make room before deliveries go on: few writes for many events, and no long wait.
local TOGETHER <const> = 64

--- @tparam table sandbox the server
-- @treturn table
function calls.new(sandbox)
  local self = setmetatable({ sandbox = sandbox, routes = {}, open = {}, metadata = nil,
    authorization = nil, spare = nil, spare_call = nil }, Calls)
  self.on_news = function(call)
    local found = self.open[call]
    if found then found:news() end
  end
  return self
end

--- Serves a method.
-- @tparam table route `method`, and one of `unary`, `stream`, `bidi`
function Calls:add(route)
  self.routes[route.method.path] = route
end

--- Lets the server's port know the unary methods: their calls arrive together with their request.
-- @tparam userdata server of the core, before it starts
function Calls:announce(server)
  for path, route in pairs(self.routes) do
    if route.unary then server:expect(path) end
  end
end

--- Follows a call until it is over.
function Calls:keep(kept)
  local call = kept.call
  self.open[call] = kept
  self.sandbox.reactor:watch(call, self.on_news)
  call:watch()
end

--- No more.
function Calls:forget(kept)
  self.open[kept.call] = nil
  self.sandbox.reactor:forget(kept.call)
end

local function refuse(self, call, entry, reason)
  entry.client = authorization.client(self.sandbox, self.authorization)
  entry:ended(reason)
  reason:finish(call)
  call:close()
end

--- A call has arrived.
-- @tparam userdata call of the core
function Calls:accept(call)
  local sandbox = self.sandbox
  local path = call:path()
  local route = self.routes[path]
  local metadata = call:packed_metadata()
  if metadata ~= self.metadata then -- most calls of a client have the same
    self.metadata, self.authorization = metadata, call:metadata("authorization")
  end
  local peer = call:peer()
  if not sandbox.peers[peer] then age.begin(sandbox, peer) end
  local entry = sandbox.journal:open(route and route.method, path, metadata, peer)
  if not route then
    return refuse(self, call, entry, status.new("UNIMPLEMENTED", "there is no method " .. path))
  end
  local principal, denied = authorization.check(sandbox, self.authorization, route)
  if not principal then return refuse(self, call, entry, denied) end
  entry.client = principal.client
  local faulty = sandbox.faults:strike_call(route.method, principal.client)
  entry.fault = faulty and true or nil
  local begun = self.spare or exchange.new(self)
  self.spare = nil
  begun:begin(call, route, entry, principal, faulty)
  if begun:is_spare() then self.spare, self.spare_call = begun, call end
end

-- Takes some of the calls that have arrived. True: there may be more.
local function accept_some(self, server)
  local hold <close> = self.sandbox.subscriptions:hold() -- luacheck: ignore 211
  for _ = 1, TOGETHER do
    local call = server:take(self.spare_call)
    if not call then return false end
    self:accept(call)
  end
  return true
end

--- Takes every call that has arrived.
function Calls:accept_all(server)
  repeat until not accept_some(self, server)
end

--- Ends every call.
-- @tparam table reason a status
function Calls:end_all(reason)
  local open = {}
  for _, found in pairs(self.open) do open[#open + 1] = found end
  table.sort(open, function(a, b) return a.entry.id < b.entry.id end)
  for _, found in ipairs(open) do found:finish(reason) end
end

return calls
