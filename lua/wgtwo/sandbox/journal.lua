--- The journal: the last calls, with what was said in them. Tokens do not get into it.
--
-- @module wgtwo.sandbox.journal

local clock = require "wgtwo.sandbox.clock"
local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local framing = require "wgtwo.sandbox.framing"

local Entry = {}
Entry.__index = Entry

local Journal = {}
Journal.__index = Journal

local journal = {}

--- An empty journal.
-- @tparam table time the clock
-- @tparam table limits `journal` (calls), `journal_messages` (of one call, in each direction)
-- @treturn table
function journal.new(time, limits)
  return setmetatable({ clock = time, limits = limits, entries = {}, first = 1, last = 0 }, Journal)
end

--- Where the entry of a call is, as long as it is in the journal.
local function place_of(self, id)
  return id % self.limits.journal + 1
end

--- Opens the entry of a call.
-- @tparam table method
-- @tparam string path
-- @tparam string metadata as `packed_metadata` of the core gives it
-- @tparam ?string peer
-- @treturn table
function Journal:open(method, path, metadata, peer)
  local id, limits = self.last + 1, self.limits
  local place = place_of(self, id)
  local entry = self.entries[place]
  if not entry or not entry.status then -- none was there, or its call goes on
    entry = setmetatable({ limit = limits.journal_messages }, Entry)
    self.entries[place] = entry
  end
  entry.id, entry.at = id, self.clock:now()
  entry.method, entry.path, entry.metadata, entry.peer = method, path, metadata, peer
  entry.received_count, entry.sent_count = 0, 0
  entry.request, entry.requests, entry.reply, entry.replies = nil, nil, nil, nil
  entry.client, entry.status, entry.fault = nil, nil, nil
  self.last = id
  if id - self.first >= limits.journal then self.first = id - limits.journal + 1 end
  return entry
end

--- Writes down a request that came by HTTP.
-- @tparam table fields `method` ("POST /oauth2/token"), `client`, `code` (the HTTP status), `request` (parameters
--   without secrets), `fault`
function Journal:note(fields)
  local entry = self:open(nil, fields.method, "", nil)
  entry.http = fields
  entry.client = fields.client
end

--- Forgets everything.
function Journal:clear()
  self.entries, self.first = {}, self.last + 1
end

--- A request has come.
function Entry:received(message)
  local count = self.received_count + 1
  self.received_count = count
  if count == 1 then
    self.request = message -- most calls have one: no list for it
  elseif count <= self.limit then
    self.requests = self.requests or { self.request }
    self.requests[count] = message
  end
end

--- A reply was sent.
-- @tparam string|int ... its parts, as `framing.join` takes them
function Entry:sent(bytes, ...)
  local count = self.sent_count + 1
  self.sent_count = count
  if count > self.limit then return end
  if ... then bytes = framing.join(bytes, ...) end
  if count == 1 then
    self.reply = bytes
  else
    self.replies = self.replies or { self.reply }
    self.replies[count] = bytes
  end
end

--- The call has ended.
function Entry:ended(status)
  self.status = self.status or status
end

--- A text as JSON takes it: a caller may have sent anything.
local function shown_text(text)
  return text and (utf8.len(text) and text or text:gsub("[\128-\255]", "?"))
end

local function shown_metadata(packed)
  local shown, at = {}, 1
  while at <= #packed do
    local name, value
    name, value, at = ("s4s4"):unpack(packed, at)
    if errors.is_secret_name(name) then value = errors.redact(name .. ": " .. value):gsub("^.-: ", "") end
    if name:sub(-4) == "-bin" then value = ("%d bytes"):format(#value) end
    shown[#shown + 1] = { name, shown_text(value) }
  end
  return core.json_array(shown)
end

local function as_json(message)
  return core.json_decode(core.tojson(message, { names = "proto" }))
end

local function shown_messages(list, kind)
  local shown = {}
  for i, message in ipairs(list) do
    if type(message) == "string" then message = kind and core.decode(kind, message) end
    shown[i] = message and as_json(message) or { invalid = true }
  end
  return core.json_array(shown)
end

--- An entry as plain values.
local function describe(entry)
  if entry.http then
    local fields = entry.http
    return { id = entry.id, time = clock.format(entry.at), method = fields.method, client = shown_text(fields.client),
      code = fields.code, requests = core.json_array{ fields.request }, fault = fields.fault }
  end
  local method, reason = entry.method, entry.status
  local requests, replies = entry.requests or { entry.request }, entry.replies or { entry.reply }
  local secret = method and method.service == "wgtwo.sim.v0.SimAuthenticationService"
  return {
    id = entry.id, time = clock.format(entry.at),
    method = method and method.name or shown_text(entry.path:gsub("^/", "")),
    client = entry.client, peer = entry.peer, metadata = shown_metadata(entry.metadata),
    requests = shown_messages(requests, method and method.input), received = entry.received_count,
    replies = secret and core.json_array{} or shown_messages(replies, method and method.output),
    sent = entry.sent_count, code = reason and reason.name,
    message = reason and reason.message ~= "" and shown_text(reason.message) or nil, fault = entry.fault,
  }
end

--- Entries, the oldest first.
-- @tparam ?table filter `method` (ending), `client`, `limit` (the last so many), `after` (id)
-- @treturn table a list
function Journal:list(filter)
  filter = filter or {}
  local found = {}
  for id = math.max(self.first, (filter.after or 0) + 1), self.last do
    local entry = self.entries[place_of(self, id)]
    local name = entry.method and entry.method.name or entry.path
    if (not filter.method or name:sub(-#filter.method) == filter.method)
        and (not filter.client or entry.client == filter.client) then
      found[#found + 1] = entry
    end
  end
  local list = {}
  for i = math.max(1, #found - (filter.limit or #found) + 1), #found do list[#list + 1] = describe(found[i]) end
  return core.json_array(list)
end

return journal
