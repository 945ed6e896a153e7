--- Tokens by scope set: each is asked for once, renewed ahead of its end, and served meanwhile.
--
-- One request is under way for a scope set, however many wait for it; it runs in a background task, so that whoever
-- started it may stop waiting. From 120 s before a token's end, asking for it starts a renewal and still gives the old
-- one; where the renewal fails, the old one serves until its end. Time is measured on both clocks, so that neither a
-- clock that is set nor a machine that slept makes an old token look fresh.
--
-- @module wgtwo.oauth.cache

local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local limits = require "wgtwo.limits"
local loop = require "wgtwo.loop"

local now = core.now

local Cache = {}
Cache.__index = Cache

local cache = {}

--- Makes a cache.
-- @tparam function fetch (scope, failed) → token, or nil and an error; it may wait, and does its own retries; it calls
--   `failed` with the error of each attempt that it makes again
-- @treturn table
function cache.new(fetch)
  return setmetatable({ fetch = fetch, entries = {} }, Cache)
end

-- An entry: `scope` (as asked for), `token`, `dies` and `renew_at` (on the clock of core.now), `flight` (the request
-- under way: `changed`, `done`, `token`, `err`; before `done`, `err` is that of its last attempt).

local function put(entry, token, renewed)
  local left = token.expires_at and token.expires_at - core.time() or math.huge
  entry.token, entry.dies = token, now() + left
  entry.renew_at = entry.dies - limits.oauth.renew_before
  -- a token that lives shorter than that is renewed at once, the one after it with some pause in between
  if renewed and left < math.huge then entry.renew_at = math.max(entry.renew_at, now() + left / 4) end
end

local function is_alive(entry)
  local token = entry.token
  return token and now() < entry.dies and (not token.expires_at or core.time() < token.expires_at)
end

--- Starts the request of an entry; nothing where one is under way.
local function start(self, entry)
  if entry.flight then return entry.flight end
  local flight = { changed = loop.signal(), done = false }
  entry.flight = flight
  local fetch, renewal = self.fetch, is_alive(entry)
  loop.daemon("token request", function()
    local token, err = fetch(entry.scope, function(err) flight.err = err end)
    entry.flight = nil
    flight.done, flight.token, flight.err = true, token, err
    if token then
      put(entry, token, renewal)
    elseif renewal then
      -- the old one serves; a passing fault is tried again in a while, a refusal is not
      entry.renew_at = err.retryable and now() + (err.retry_after or limits.oauth.backoff.max) or math.huge
    end
    flight.changed:notify()
  end)
  return flight
end

--- One name for a scope set, whatever the order and spelling.
local function canonical(scopes)
  local seen, names, asked = {}, {}, {}
  if type(scopes) == "string" then scopes = { scopes } end
  for _, item in ipairs(scopes) do
    for name in item:gmatch("%S+") do
      if not seen[name] then
        seen[name] = true
        names[#names + 1], asked[#asked + 1] = name, name
      end
    end
  end
  table.sort(names)
  return table.concat(names, " "), table.concat(asked, " ")
end

local function find(self, scopes)
  local entries = self.entries
  local entry = type(scopes) == "string" and entries[scopes]
  if entry then return entry end
  local name, asked = canonical(scopes)
  entry = entries[name]
  if not entry then
    entry = { scope = asked }
    entries[name] = entry
  end
  return entry
end

--- The token at hand, without waiting: nil where there is none. Starts its renewal when that is due.
-- @tparam table|string scopes
-- @treturn ?table
function Cache:peek(scopes)
  local entry = find(self, scopes)
  if not is_alive(entry) then return nil end
  if now() >= entry.renew_at then start(self, entry) end
  return entry.token
end

--- A token, asked for where there is none.
-- @tparam table|string scopes
-- @tparam ?number deadline on the clock of `core.now`; the request goes on when it passes
-- @treturn ?table
-- @treturn ?wgtwo.error
function Cache:get(scopes, deadline)
  local token = self:peek(scopes)
  if token then return token end
  local flight = start(self, find(self, scopes))
  while not flight.done do
    if not flight.changed:wait(deadline) and not flight.done then
      local last = flight.err
      return nil, errors.timeout("no token in time" .. (last and ", so far: " .. last.message or ""),
        { target = self.target, hint = "the identity server is slow, or cannot be reached" })
    end
  end
  return flight.token, flight.err
end

--- Puts a token that came another way.
-- @tparam table|string scopes
-- @tparam table token
function Cache:put(scopes, token)
  put(find(self, scopes), token, false)
end

--- Forgets tokens, so that the next call asks for a new one.
-- @tparam ?string access_token only this one; nil: all
function Cache:invalidate(access_token)
  for _, entry in pairs(self.entries) do
    if not access_token or entry.token and entry.token.access_token == access_token then entry.token = nil end
  end
end

return cache
