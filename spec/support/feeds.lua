-- Events for tests, on an in-process API server: what a stream sends, and what its acknowledgements answer.

local schema = require("wgtwo.schema")

local feeds = {}

feeds.SUBSCRIBE = "wgtwo.events.v0.EventsService/Subscribe"
feeds.ACK = "wgtwo.events.v0.EventsService/Ack"
feeds.HANDSETS = "wgtwo.subscription.v1.SubscriptionEventService/StreamHandsetChangeEvents"
feeds.ACK_HANDSET = "wgtwo.subscription.v1.SubscriptionEventService/AckHandsetChangeEvent"

--- A reply of v0's Subscribe with an SMS.
function feeds.sms(sequence, fields)
  local event = {
    metadata = { sequence = sequence, ack_inbox = "inbox", is_redelivered = false },
    timestamp = 1700000000.5,
    owner = { phone_number = { e164 = "4799990001" } },
    sms_event = { id = "id-" .. sequence, text = "text " .. sequence, direction = "TO_SUBSCRIBER",
      to_e164 = { e164 = "+4799990001" }, from_text_address = { text_address = "Shop" } },
  }
  for key, value in pairs(fields or {}) do event[key] = value end
  return { event = event }
end

--- A reply of v1's StreamHandsetChangeEvents.
function feeds.handset(id, metadata)
  local all = { timestamp = 1700000001, ack_info = { value = "ack-" .. id } }
  for key, value in pairs(metadata or {}) do all[key] = value end
  local payload = { number = { e164 = "+4799990002" }, imsi = { value = tostring(id) } }
  return { metadata = all, handset_change_event = payload }
end

--- Answers a stream with these replies, then keeps it open.
function feeds.send(api, method, replies)
  api:on(method, function(call)
    for _, reply in ipairs(replies) do call:send(reply) end
    call:until_cancelled()
  end)
end

--- Accepts every acknowledgement; the list of their requests grows.
function feeds.accept_acks(api)
  local acks = {}
  local function handler(answer)
    return function(call)
      acks[#acks + 1] = call.record.request
      call:reply(answer)
    end
  end
  api:on(feeds.ACK, handler{})
  api:on(feeds.ACK_HANDSET, handler{ ack_status = { status_code = "STATUS_CODE_SUCCESS" } })
  return acks
end

--- The full name of a method, for api:seen.
function feeds.name(method)
  return schema.resolve(method).name
end

return feeds
