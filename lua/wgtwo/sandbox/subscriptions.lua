--- All subscriptions: found by key, told of what is published, forgotten when their time is over.
--
-- @module wgtwo.sandbox.subscriptions

local status = require "wgtwo.sandbox.status"
local subscription = require "wgtwo.sandbox.subscription"

local Subscriptions = {}
Subscriptions.__index = Subscriptions

local subscriptions = {}

--- No subscriptions.
-- @tparam table log
-- @tparam table clock
-- @tparam int serial the last id that was given away: a late acknowledgement must not meet another subscription
-- @treturn table
function subscriptions.new(log, clock, serial)
  return setmetatable({ log = log, clock = clock, by_key = {}, by_id = {}, by_kind = {}, serial = serial, held = nil },
    Subscriptions)
end

local function remove_value(list, value)
  for index, found in ipairs(list or {}) do
    if found == value then return table.remove(list, index) end
  end
end

local function forget(self, sub)
  self.clock:cancel(sub.expiry)
  if sub.key then self.by_key[sub.key] = nil end
  self.by_id[sub.id] = nil
  for name in pairs(sub.kinds) do remove_value(self.by_kind[name], sub) end
end

--- Makes a subscription known.
-- @tparam table fields as for `subscription.new`
-- @treturn table
function Subscriptions:add(fields)
  self.serial = self.serial + 1
  fields.id = fields.id or self.serial
  fields.all, fields.log, fields.clock = self, self.log, self.clock
  local sub = subscription.new(fields)
  if sub.key then self.by_key[sub.key] = sub end
  self.by_id[sub.id] = sub
  for name in pairs(sub.kinds) do
    self.by_kind[name] = self.by_kind[name] or {}
    table.insert(self.by_kind[name], sub)
  end
  return sub
end

--- A stream subscribes: to the subscription of its key if there is one, else to a new one.
-- @tparam table wish `key` (nil: one of its own), and what `add` takes; `start`: a function that gives the first event
--   to look at, asked only where no position is stored
-- @tparam table member as for `subscription:join`; `finish(member, status)` ends its stream
-- @treturn table the subscription
function Subscriptions:join(wish, member)
  self.log:prune() -- a position that was kept may be older than the history
  local sub = wish.key and self.by_key[wish.key]
  if sub then
    self.clock:cancel(sub.expiry)
    sub.expiry = nil
    if sub.exclusive and sub.members[1] then
      local before = sub.members[1]
      before.left = true
      sub:leave(before)
      before:finish(status.new("ABORTED", "another connection took over the durable subscription " .. sub.name))
    end
  else
    wish.cursor = wish.start()
    sub = self:add(wish)
  end
  sub:join(member)
  return sub
end

--- A stream has ended. A subscription without members is kept as long as its kind says.
function Subscriptions:leave(member)
  local sub = member.subscription
  if not sub or member.left then return end
  member.left = true
  sub:leave(member)
  if sub.members[1] then return end
  if sub.kept <= 0 then return forget(self, sub) end
  self:expire_later(sub)
end

--- Forgets a subscription without members after the time that its position is kept.
-- @tparam table sub
-- @tparam ?number at when; nil: from now
function Subscriptions:expire_later(sub, at)
  sub.expiry = self.clock:at(at or self.clock:now() + sub.kept, function() forget(self, sub) end)
end

local function release(self)
  local held = self.held
  self.held = nil
  for _, sub in ipairs(held) do sub:pump() end
end

local Hold = { __close = function(hold) release(hold.all) end }

--- Holds deliveries until the value that it returns is closed: what many calls make room for leaves in few writes.
-- @usage local hold <close> = subscriptions:hold()
function Subscriptions:hold()
  self.held = {}
  return setmetatable({ all = self }, Hold)
end

--- An event is in the history: delivers it.
function Subscriptions:published(event)
  for _, sub in ipairs(self.by_kind[event.kind.name] or {}) do sub:pump() end
end

--- Ends every stream, and forgets every position.
-- @tparam table reason a status
function Subscriptions:clear(reason)
  for _, sub in ipairs(self:list()) do
    for _, member in ipairs({ table.unpack(sub.members) }) do
      member.left = true
      member:finish(reason)
      self.clock:cancel(member.timer)
    end
    sub.members = {}
    forget(self, sub)
  end
end

--- All, by id.
-- @treturn table
function Subscriptions:list()
  local list = {}
  for _, sub in pairs(self.by_id) do list[#list + 1] = sub end
  table.sort(list, function(a, b) return a.id < b.id end)
  return list
end

return subscriptions
