--- The event streams of v1: five pairs of Stream and Ack, all of one form.
--
-- A stream without a type is a durable queue named "". Undocumented, so chosen here: `ack_info` is another one in every
-- delivery, and any of an event's is taken, also over a reconnect; acknowledging again is a success; what is malformed,
-- of another stream or client, of a subscription that is gone, or of an event that was never delivered, is answered
-- with STATUS_CODE_FAILURE.
--
-- @module wgtwo.sandbox.events_v1

local core = require "wgtwo.core"
local clock = require "wgtwo.sandbox.clock"
local framing = require "wgtwo.sandbox.framing"
local kinds = require "wgtwo.sandbox.kinds"
local limits = require "wgtwo.limits"
local numbers = require "wgtwo.sandbox.numbers"
local schema = require "wgtwo.schema"

local events_v1 = {}

local metadata_type = schema.type("wgtwo.events.v1.Metadata")
local METADATA <const> = framing.tag(1) -- of each stream's response
local SUCCESS <const> = limits.events_v1.success
local FAILURE <const> = "STATUS_CODE_FAILURE"

local Member = {}
Member.__index = Member

local function identifier(number)
  if not number then return nil end
  return { subscription_identifier = { value = numbers.subscription_id(number), wg2rn = "wg2rn:sub:" .. number } }
end

function Member:send(event, is_redelivered)
  self.serial = self.serial + 1
  local info = ("%s.%d.%d.%d"):format(self.kind.name, self.subscription.id, event.id, self.serial)
  local metadata = core.encode(metadata_type, {
    timestamp = clock.timestamp(event.at), identifier = identifier(event.number), is_redelivered = is_redelivered,
    ack_info = { value = info },
  })
  return self.exchange:send(METADATA, #metadata, metadata, event.body)
end

function Member:finish(reason)
  self.exchange:finish(reason)
end

--- How a stream acknowledges. That its numbers are within bounds was checked (`wgtwo.sandbox.rules`).
local function acknowledgement(configuration)
  local default = limits.events_v1
  local max = configuration and configuration.max_in_flight or 0
  if max == 0 then max = default.max_in_flight.default end
  local option = configuration and core.which(configuration, "acknowledge_option")
  if option == "disable_explicit_ack" then return { explicit = false, max_in_flight = max } end
  local timeout = option and clock.seconds(configuration.custom_ack_timeout) or default.ack_timeout.default
  return { explicit = true, max_in_flight = max, ack_timeout = timeout }
end

--- The first event to look at, for a stream without a stored position.
local function start_of(configuration, log)
  local position = configuration and core.which(configuration, "start_position")
  if position == "start_at_id" then return math.max(configuration.start_at_id, 1) end
  if position == "start_at_timestamp" then return log:since(clock.seconds(configuration.start_at_timestamp)) end
  if position == "start_at_oldest_possible" then return log:oldest() end
  return log.last + 1
end

local function stream(sandbox, exchange, request, kind)
  local configuration = request.stream_configuration
  local how = acknowledgement(configuration)
  local client = exchange.client
  local name, key = "regular", nil
  if not configuration or core.which(configuration, "stream_type") ~= "regular" then
    local queue = configuration and configuration.durable_queue
    local custom = queue and queue.custom_name or ""
    name, key = ("durable queue %q"):format(custom), table.concat({ "v1", client or "", kind.name, custom }, "\0")
  end
  local member = setmetatable({ exchange = exchange, kind = kind, serial = 0, explicit = how.explicit,
    ack_timeout = how.ack_timeout, max_in_flight = how.max_in_flight }, Member)
  exchange:on_close(function() sandbox.subscriptions:leave(member) end)
  exchange:on_room(function() member.subscription:unblock(member) end)
  exchange:send_headers()
  exchange.subscription = sandbox.subscriptions:join({
    api = "v1", name = name, key = key, kinds = { [kind.name] = true }, client = client,
    kept = key and sandbox.settings.position_kept or 0,
    start = function() return start_of(configuration, sandbox.log) end,
  }, member)
end

--- Whether an acknowledgement counts.
local function acknowledge(sandbox, exchange, request, kind)
  local info = request.ack_info and request.ack_info.value or ""
  local name, sub_id, event_id = info:match("^([%w_]+)%.(%d+)%.(%d+)%.%d+$")
  if name ~= kind.name then return FAILURE end
  local sub = sandbox.subscriptions.by_id[math.tointeger(tonumber(sub_id))]
  if not sub or sub.client ~= exchange.client or not sub.kinds[name] then return FAILURE end
  local id = math.tointeger(tonumber(event_id))
  if sub:ack(id) == "acked" or sub:has_delivered(id) then return SUCCESS end
  return FAILURE
end

--- Adds the streams to the sandbox.
-- @tparam table sandbox the server
function events_v1.register(sandbox)
  for _, kind in ipairs(kinds.v1()) do
    sandbox:serve(kind.stream, { stream = function(_, exchange, request)
      return stream(sandbox, exchange, request, kind)
    end })
    sandbox:serve(kind.ack, { ack = true, unary = function(_, exchange, request)
      return { ack_status = { status_code = acknowledge(sandbox, exchange, request, kind) } }
    end })
  end
end

return events_v1
