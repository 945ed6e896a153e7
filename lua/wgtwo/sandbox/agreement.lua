--- Makes an answer agree with its request where the two call one thing by different names.
--
-- An answer is made from the descriptors (`wgtwo.sandbox.answers`), which know only that equal names mean the same. The
-- rest is here: the number whose IMSI is told, the copy that a dataset became, the filters of a list.
--
-- @module wgtwo.sandbox.agreement

local clock = require "wgtwo.sandbox.clock"
local limits = require "wgtwo.limits"
local numbers = require "wgtwo.sandbox.numbers"

local agreement = {}

local DAY <const> = 86400
local MIN_DIGITS <const> = 8 -- of a number that is made up from its beginning

--- By method: the field of the answer, and that of the request, which mean the same.
local same = {
  ["wgtwo.ir21.v1.Ir21Service/CopyDataset"] = { "uuid", "destination_uuid" },
  ["wgtwo.ir21.v1.Ir21Service/CreateOrUpdateOrganisation"] = { "uuid", "organisation.uuid" },
  ["wgtwo.ir21.v1.Ir21Service/DeleteOrganisation"] = { "uuid", "organisation_uuid" },
  ["wgtwo.ir21.v1.Ir21Service/GetOrganisation"] = { "organisation.uuid", "organisation_uuid" },
  ["wgtwo.ir21.v1.Ir21Service/ListOrganisations"] = { "dataset.uuid", "dataset_uuid" },
  ["wgtwo.number_portability.v1.RoutingDestinationService/CreateOrUpdateDestination"] = { "destination_id",
    "destination.id" },
}

local function get(fields, path)
  for name in path:gmatch("[^.]+") do fields = fields and fields[name] end
  return fields
end

local function set(fields, path, value)
  local parents, name = path:match("^(.-)%.?([^.]+)$")
  for parent in parents:gmatch("[^.]+") do fields = fields[parent] end
  fields[name] = value
end

local function cut(list, most)
  for i = #list, most + 1, -1 do list[i] = nil end
end

--- By the list of an answer: makes it what the request asked for.
local lists = {}

function lists.network_infos(list, request)
  for _, info in ipairs(list) do info.imsi = { value = numbers.imsi(request.phone_number.e164) } end
end

--- No more than asked for, within the time asked for, the oldest first.
function lists.attachment_attempts(list, request)
  if (request.max_attempts or 0) > 0 then cut(list, request.max_attempts) end
  local interval = request.filter_by_interval or {}
  local after, before = interval.after, interval.before
  local first = after and clock.seconds(after) or before and clock.seconds(before) - DAY or clock.EPOCH - DAY
  local last = before and clock.seconds(before) or first + DAY
  for i, attempt in ipairs(list) do
    attempt.imsi = { value = numbers.imsi(request.phone_number.e164) }
    attempt.timestamp = clock.timestamp(first + (last - first) * i / (#list + 1))
  end
end

function lists.consents(list, request)
  local id = request.id or { value = numbers.subscription_id(request.phone_number.e164) }
  for _, consent in ipairs(list) do consent.owner = { subscription = { subscription_identifier = id } } end
end

function lists.active_datasets(list, request)
  if not request.tenant_uuids then return end
  cut(list, 0)
  for i, tenant in ipairs(request.tenant_uuids) do
    list[i] = { dataset_uuid = request.dataset_uuid, tenant_uuid = tenant }
  end
end

function lists.destinations(list, request)
  if (request.destination_id or "") == "" then return end
  cut(list, 1)
  list[1].id = request.destination_id
end

function lists.records(list, request)
  local beginning = (request.subscriber_number_prefix or ""):match("^%+?([1-9]%d*)$")
  if not beginning or #beginning >= limits.sms.e164_digits.max then return end
  for i, record in ipairs(list) do
    local rest = math.max(MIN_DIGITS - #beginning, 1)
    record.subscriber_number = { e164 = "+" .. beginning .. ("0"):rep(rest - 1) .. i }
  end
end

--- Makes an answer agree with its request.
-- @tparam table method
-- @tparam table reply is changed
-- @tparam table request as a table
function agreement.make(method, reply, request)
  local pair = same[method.name]
  local value = pair and get(request, pair[2])
  if value and value ~= "" then set(reply, pair[1], value) end
  if reply.subscription_id and request.phone_number then
    reply.subscription_id.value = numbers.subscription_id(request.phone_number.e164)
  end
  for name, list in pairs(reply) do
    if lists[name] then lists[name](list, request) end
  end
end

return agreement
