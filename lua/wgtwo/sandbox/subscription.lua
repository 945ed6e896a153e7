--- One subscription: a position in the history, what was delivered and not yet acknowledged, and its members.
--
-- A member is one stream. An event goes to one member, in turn, that has room; to another after its acknowledgement
-- timeout, or at once when its member leaves. Redelivery comes before what is new. Nothing is lost between a position
-- and the redelivery list: an event is in the list, with a member, acknowledged, or ahead of the position.
--
-- A record is one event in one subscription: `event`, `deliveries`, `acked`, `member` (while it waits for its
-- acknowledgement), `due` (when that is too late), `older` (the same event's record before this one).
--
-- @module wgtwo.sandbox.subscription

local Subscription = {}
Subscription.__index = Subscription

local subscription = {}

--- Whose the events of calls without a token are.
subscription.ANONYMOUS = ""

--- A subscription without members.
-- @tparam table fields `name` (for people), `all` (the subscriptions that it is one of), `log`, `clock`,
--   `kinds` (set of names), `client`, `cursor` (the next event to look at), `kept` (seconds that it outlives its last
--   member), `exclusive` (one member at a time), `key`
-- @treturn table
function subscription.new(fields)
  fields.members, fields.turn = {}, 0
  fields.pending = {}                         -- event id → record that is not acknowledged
  fields.again = { head = 1, tail = 0 }       -- records to deliver once more
  fields.counts = { delivered = 0, redelivered = 0, acked = 0 }
  return setmetatable(fields, Subscription)
end

--- Whether a client may see an event: it is everyone's, or its own. Calls without a token are one client.
-- @tparam table event
-- @tparam ?string client
-- @treturn boolean
function subscription.is_for(event, client)
  local owner = event.client
  return owner == nil or owner == (client or subscription.ANONYMOUS)
end

--- A new record of an event, which the event knows too.
-- @treturn table
function subscription.record(sub, event)
  local record = { event = event, subscription = sub, deliveries = 0, acked = false, due = false, member = false,
    previous = false, next = false }
  if event.newest_record then record.older = event.newest_record end -- seldom: most events go to one subscription
  event.newest_record = record
  return record
end

--- Whether an event is for this subscription.
function Subscription:wants(event)
  return self.kinds[event.kind.name] and subscription.is_for(event, self.client)
end

-- What a member has in flight: a list by due time, which is the order of delivery since its timeout is one for all ----

local function push_flight(member, record)
  record.previous, record.next = member.newest, false
  if member.newest then member.newest.next = record else member.oldest = record end
  member.newest = record
  member.in_flight = member.in_flight + 1
  record.member = member
end

local function take_flight(record)
  local member = record.member
  if record.previous then record.previous.next = record.next else member.oldest = record.next end
  if record.next then record.next.previous = record.previous else member.newest = record.previous end
  record.previous, record.next, record.member = false, false, false
  member.in_flight = member.in_flight - 1
  return member
end

local function push_again(self, record)
  local again = self.again
  again.tail = again.tail + 1
  again[again.tail] = record
end

--- The next event to deliver, and its record where it had been delivered before; it stays where it is. `oldest`: the
-- time when the history begins.
local function peek(self, oldest)
  local again = self.again
  while again.head <= again.tail do
    local record = again[again.head]
    if not record.acked then return record.event, record end
    again[again.head] = nil
    again.head = again.head + 1
  end
  local log = self.log
  local id = self.cursor
  if id < log.first then id = log.first end
  while id <= log.last do
    local event = log.events[id]
    if event.at < oldest then -- it has left since somebody looked
      log:prune()
      id = math.max(log.first, id + 1)
    elseif self:wants(event) then
      self.cursor = id
      return event
    else
      id = id + 1
    end
  end
  self.cursor = id
end

--- Takes what peek has shown.
local function take(self, record)
  if record then
    local again = self.again
    again[again.head] = nil
    again.head = again.head + 1
  else
    self.cursor = self.cursor + 1
  end
end

--- The next member in turn that can take an event.
local function next_member(self)
  local members, index = self.members, self.turn
  for _ = 1, #members do
    index = index < #members and index + 1 or 1
    local member = members[index]
    if not member.blocked and (not member.explicit or member.in_flight < member.max_in_flight) then
      return member, index
    end
  end
end

local function arm(self, member)
  local oldest = member.oldest
  if not oldest then return end
  if not member.timer then
    member.timer = self.clock:at(oldest.due, function() self:expire(member) end)
  elseif not member.timer.slot then
    self.clock:move(member.timer, oldest.due)
  end
end

local function delivered(self, member, event, record, now)
  local counts = self.counts
  record = record or subscription.record(self, event)
  record.deliveries = record.deliveries + 1
  counts.delivered = counts.delivered + 1
  if record.deliveries > 1 then counts.redelivered = counts.redelivered + 1 end
  if member.explicit then
    record.due = now + member.ack_timeout
    self.pending[event.id] = record
    push_flight(member, record)
    if member.oldest == record then arm(self, member) end -- else it is armed for an older one
  else
    record.acked = true
    self.pending[event.id] = nil
    counts.acked = counts.acked + 1
  end
  local touched = self.log.touched
  if touched then touched[event.id] = true end
end

--- Delivers what can be delivered now, or as soon as deliveries are no longer held.
function Subscription:pump()
  local held = self.all.held
  if held then
    if not held[self] then held[#held + 1] = self end
    held[self] = true
    return
  end
  local now = self.clock:now()
  local oldest = now - self.log.limits.history
  while true do
    local member, index = next_member(self)
    if not member then return end
    local event, record = peek(self, oldest)
    if not event then return end
    local sent = member:send(event, record ~= nil and record.deliveries > 0)
    if sent then
      self.turn = index
      take(self, record)
      delivered(self, member, event, record, now)
    else
      member.blocked = true -- until its stream has room, or it leaves
    end
  end
end

--- A member has room again.
function Subscription:unblock(member)
  if not member.blocked then return end
  member.blocked = false
  self:pump()
end

--- What a member did not acknowledge in time goes to redelivery.
function Subscription:expire(member)
  local now = self.clock:now()
  while member.oldest and member.oldest.due <= now do
    local record = member.oldest
    take_flight(record)
    push_again(self, record)
  end
  arm(self, member)
  self:pump()
end

--- Acknowledges an event.
-- @tparam int id of the event
-- @treturn string "acked"; "late" where it is not waiting for an acknowledgement
function Subscription:ack(id)
  local record = self.pending[id]
  if not record then return "late" end
  self.pending[id] = nil
  record.acked = true
  self.counts.acked = self.counts.acked + 1
  local touched = self.log.touched
  if touched then touched[id] = true end
  if record.member then take_flight(record) end
  self:pump()
  return "acked"
end

--- Whether an event was delivered here, or may have been: nobody knows of one that has left the history.
-- @tparam ?int id
-- @treturn boolean
function Subscription:has_delivered(id)
  if not id or id < 1 or id > self.log.last then return false end
  local event = self.log:get(id)
  if not event then return true end
  local record = event.newest_record
  while record do
    if record.subscription == self then return true end
    record = record.older
  end
  return false
end

--- Adds a member and delivers to it.
-- @tparam table member `send(member, event, is_redelivered)`: true, or false when it has no room; `explicit`,
--   `max_in_flight`, `ack_timeout`
function Subscription:join(member)
  member.in_flight, member.blocked, member.subscription = 0, false, self
  self.members[#self.members + 1] = member
  self:pump()
end

--- Takes a member out; what it had in flight goes to the others, or to whoever comes.
function Subscription:leave(member)
  for index, found in ipairs(self.members) do
    if found == member then
      table.remove(self.members, index)
      if index <= self.turn then self.turn = self.turn - 1 end
      break
    end
  end
  self.clock:cancel(member.timer)
  if not member.oldest then return self:pump() end
  local list, again = {}, self.again
  while member.oldest do
    local record = member.oldest
    take_flight(record)
    list[#list + 1] = record
  end
  for i = again.head, again.tail do
    if not again[i].acked then list[#list + 1] = again[i] end
  end
  table.sort(list, function(a, b) return a.event.id < b.event.id end)
  list.head, list.tail = 1, #list
  self.again = list
  self:pump()
end

--- How many events are ahead or unacknowledged.
function Subscription:backlog()
  local count = 0
  for id = math.max(self.cursor, self.log.first), self.log.last do
    if self:wants(self.log.events[id]) then count = count + 1 end
  end
  return count
end

return subscription
