--- Calls: from the server's port to the route that serves them.
--
-- @module wgtwo.sandbox.calls

local authorization = require "wgtwo.sandbox.authorization"
local exchange = require "wgtwo.sandbox.exchange"
local status = require "wgtwo.sandbox.status"

local Calls = {}
Calls.__index = Calls

local calls = {}

--- @tparam table sandbox the server
-- @treturn table
function calls.new(sandbox)
  local self = setmetatable({ sandbox = sandbox, routes = {}, open = {}, count = 0 }, Calls)
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

local function refuse(call, entry, reason)
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
  local entry = sandbox.journal:open(route and route.method, path, call:packed_metadata(), call:peer())
  if not route then
    return refuse(call, entry, status.new("UNIMPLEMENTED", "there is no method " .. path))
  end
  local principal, denied = authorization.check(sandbox, call, route)
  if not principal then return refuse(call, entry, denied) end
  entry.client = principal.client
  local faulty = sandbox.faults:strike_call(route.method.name, principal.client)
  entry.fault = faulty and true or nil
  local started = exchange.new(self, call, route, entry, principal, faulty)
  self.open[call] = started
  self.count = self.count + 1
  sandbox.reactor:watch(call, self.on_news)
  started:start()
end

--- Takes every call that has arrived.
function Calls:accept_all(server)
  local call = server:take()
  while call do
    self:accept(call)
    call = server:take()
  end
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
