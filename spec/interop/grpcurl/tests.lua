-- grpcurl: the commands of the platform's guides with only the host changed, with and without a token, by reflection
-- and by descriptor sets: this project's, and the published one.

local client = require("spec.interop.client")
local core = require("wgtwo.core")
local suite = require("spec.interop.suite")

local FAILED <const> = 64 -- grpcurl's exit code of a call that failed, without its status number

return function(grpcurl, test)
  local function argv(sandbox, words)
    return { grpcurl.path, "-cacert", sandbox.ca_file, table.unpack(words) }
  end

  --- Runs grpcurl; the target stands where a word is "HOST".
  local function words_for(sandbox, ...)
    local words = { ... }
    for i, word in ipairs(words) do
      if word == "HOST" then words[i] = sandbox.target end
    end
    return argv(sandbox, words)
  end

  local function start(sandbox, ...)
    return client.start(words_for(sandbox, ...), { input = true })
  end

  local function call(sandbox, ...)
    return client.run(words_for(sandbox, ...))
  end

  local function succeed(sandbox, ...)
    local code, output = call(sandbox, ...)
    suite.equal(0, code, "exit code, with " .. output)
    return output
  end

  --- Runs a call that fails with a status.
  local function fail(number, sandbox, ...)
    local code, output = call(sandbox, ...)
    suite.equal(FAILED + number, code, "exit code, with " .. output)
    return output
  end

  local function bearer(sandbox, scope)
    local request <close> = assert(core.http{ method = "POST", url = sandbox.url .. "/oauth2/token", username = "id",
      password = "secret", headers = { "Content-Type: application/x-www-form-urlencoded" },
      body = "grant_type=client_credentials&scope=" .. scope })
    local answer = suite.eventually("a token", function() return request:take() end)
    return "Authorization: Bearer " .. core.json_decode(answer.body).access_token
  end

  local subscribe, send = "wgtwo.events.v0.EventsService.Subscribe", "wgtwo.sms.v0.SmsService/SendTextFromSubscriber"
  local text_message = [[{
        "content": "This is a test message",
        "from_subscriber": { "e164": "+4799990000" },
        "to_e164": { "e164": "+46724450000" }
      }]]
  local send_v1 = "wgtwo.sms.v1.SmsService/SendTextFromSubscriber"
  local text_message_v1 = [[{ "content": "This is a test message", "from_subscriber": "+4799990000",
    "to_address": "+46724450000" }]]

  -- Describing -------------------------------------------------------------------------------------------------------

  test("lists by reflection what it lists by descriptor set", function(sandbox)
    local by_set = succeed(sandbox, "-protoset", grpcurl.api, "list")
    local by_reflection = {}
    for name in succeed(sandbox, "HOST", "list"):gmatch("[^\n]+") do
      if not name:find("^grpc%.") then by_reflection[#by_reflection + 1] = name end
    end
    suite.equal(by_set, table.concat(by_reflection, "\n") .. "\n", "services")
    suite.contains(succeed(sandbox, "HOST", "list", "wgtwo.events.v0.EventsService"),
      "wgtwo.events.v0.EventsService.Ack\n", "wgtwo.events.v0.EventsService.Subscribe\n")
  end)

  test("describes by reflection what it describes by descriptor set", function(sandbox)
    local symbols = { "wgtwo.events.v0.Event", "wgtwo.events.v0.EventType", "wgtwo.sms.v1.SendMessageResponse" }
    for name in succeed(sandbox, "-protoset", grpcurl.api, "list"):gmatch("[^\n]+") do symbols[#symbols + 1] = name end
    for _, symbol in ipairs(symbols) do
      suite.equal(succeed(sandbox, "-protoset", grpcurl.api, "describe", symbol),
        succeed(sandbox, "HOST", "describe", symbol))
    end
    suite.contains(succeed(sandbox, "-msg-template", "HOST", "describe", "wgtwo.events.v0.SubscribeEventsRequest"),
      '"manualAck"')
    suite.contains(select(2, call(sandbox, "HOST", "describe", "wgtwo.events.v0.Nothing")), "not found")
  end)

  test("writes a descriptor set by reflection that it can use", function(sandbox)
    local path = os.tmpname()
    os.remove(path)
    succeed(sandbox, "-protoset-out", path, "HOST", "describe", "wgtwo.sms.v0.SmsService")
    suite.contains(succeed(sandbox, "-protoset", path, "-d", text_message, "HOST", send), "SEND_OK")
    os.remove(path)
  end)

  test("asks for health", function(sandbox)
    suite.contains(succeed(sandbox, "HOST", "grpc.health.v1.Health/Check"), '"SERVING"')
  end)

  -- The guides -------------------------------------------------------------------------------------------------------

  local test_published = suite.tests_of("grpcurl", grpcurl.missing or grpcurl.without_published)

  local function follow_guide(set, method, request)
    return function(sandbox)
      local stream <close> = start(sandbox, "-protoset", set, "-d", '{ "type": ["SMS_EVENT"] }', "HOST", subscribe)
      suite.streams(sandbox, "/Subscribe", 1)
      assert(sandbox:publish{ type = "SMS_EVENT", number = "+4799990001", payload = { text = "fake" } })
      local first = stream:object().event
      suite.equal("fake", first.smsEvent.text, "text")
      suite.equal("+4799990001", first.owner.phoneNumber.e164, "owner")

      local sent = core.json_decode(succeed(sandbox, "-protoset", set, "-d", request, "HOST", method))
      assert(sent.status:find("SEND_.*OK$"), sent.status)
      local event = stream:object().event.smsEvent
      suite.equal("This is a test message", event.text, "text")
      suite.equal(sent.requestId or sent.messageId, event.id, "id")
      suite.equal("FROM_SUBSCRIBER", event.direction, "direction")
      suite.equal("+46724450000", event.toE164.e164, "to")

      assert(sandbox:end_streams{})
      suite.equal(0, (stream:wait()), "exit code at the stream's end")
    end
  end

  test("follows the guide with this project's descriptor set", follow_guide(grpcurl.api, send, text_message))
  -- It has v1 only: v0 was withdrawn.
  test_published("follows the guide with the published descriptor set",
    follow_guide(grpcurl.published, send_v1, text_message_v1))

  test("sees fake events with nothing else set up", function(sandbox)
    local stream <close> = start(sandbox, "-d", '{ "type": ["SMS_EVENT"] }', "HOST", subscribe)
    assert(stream:object().event.smsEvent, "no smsEvent")
  end, { generate = { types = { "SMS_EVENT" }, rate = 20 } })

  test("subscribes with a token, from the oldest event", function(sandbox)
    assert(sandbox:publish{ type = "SMS_EVENT", payload = { text = "before" } })
    local stream <close> = start(sandbox, "-H", bearer(sandbox, "events.sms.subscribe"), "-protoset", grpcurl.api,
      "-d", '{ "type": ["SMS_EVENT"], "start_at_oldest_possible": {} }', "HOST", subscribe)
    suite.equal("before", stream:object().event.smsEvent.text, "text")
    local opened = suite.only_call(sandbox, "EventsService/Subscribe")
    suite.equal("id", opened.client, "client")
    for _, pair in ipairs(opened.metadata) do
      assert(not pair[2]:find("sandbox_at_"), "the journal has the token")
    end
  end)

  test("sends with a token, and only that client gets the events", function(sandbox)
    local without <close> = start(sandbox, "-d", '{ "type": ["SMS_EVENT"] }', "HOST", subscribe)
    local with <close> = start(sandbox, "-H", bearer(sandbox, "events.sms.subscribe"), "-d",
      '{ "type": ["SMS_EVENT"] }', "HOST", subscribe)
    suite.streams(sandbox, "/Subscribe", 2)
    local answer = succeed(sandbox, "-H", bearer(sandbox, "sms.text:send_from_subscriber"), "-d",
      '{"content":"mine","from_subscriber":"+4799990001","to_address":"+46724450000"}', "HOST", send_v1)
    suite.contains(answer, "SEND_STATUS_OK", '"numFragments": 1')
    suite.equal("mine", with:object().event.smsEvent.text, "text")
    assert(sandbox:publish{ type = "SMS_EVENT", payload = { text = "for all" } })
    suite.equal("for all", without:object().event.smsEvent.text, "text")
  end)

  -- Acknowledging ----------------------------------------------------------------------------------------------------

  test("acknowledges by hand what would come again", function(sandbox)
    local stream <close> = start(sandbox, "-d", [[{ "type": ["SMS_EVENT"], "queue_name": "q", "durable_name": "d",
      "client_id": "c", "max_in_flight": 2, "manual_ack": { "enable": true, "timeout": "30s" } }]], "HOST", subscribe)
    suite.streams(sandbox, "/Subscribe", 1)
    for i = 1, 2 do assert(sandbox:publish{ type = "SMS_EVENT", payload = { text = "number " .. i } }) end
    local first, second = stream:object().event, stream:object().event
    suite.equal("{}\n", succeed(sandbox, "-d", core.json_encode{ sequence = first.metadata.sequence,
      inbox = first.metadata.ackInbox }, "HOST", "wgtwo.events.v0.EventsService.Ack"))
    suite.acknowledged(sandbox, 1)
    assert(sandbox:advance(31))
    local again = stream:object().event
    suite.equal(second.smsEvent.text, again.smsEvent.text, "text")
    suite.equal(true, again.metadata.isRedelivered, "isRedelivered")
    local events = assert(sandbox:events())
    suite.equal(1, events[1].deliveries, "deliveries of what was acknowledged")
    suite.equal(2, events[2].deliveries, "deliveries of what was not")
  end, { clock = "virtual" })

  test("streams and acknowledges v1", function(sandbox)
    local service = "wgtwo.subscription.v1.SubscriptionEventService/"
    local token = bearer(sandbox, "subscription.handset_details:read")
    local stream <close> = start(sandbox, "-H", token, "-d", "{}", "HOST", service .. "StreamHandsetChangeEvents")
    suite.streams(sandbox, "/StreamHandsetChangeEvents", 1)
    assert(sandbox:publish{ type = "handset_change" })
    local ack_info = stream:object().metadata.ackInfo
    local answer = succeed(sandbox, "-H", token, "-d", core.json_encode{ ack_info = ack_info }, "HOST",
      service .. "AckHandsetChangeEvent")
    suite.contains(answer, "STATUS_CODE_SUCCESS")
    suite.acknowledged(sandbox, 1)
  end)

  test("answers a number lookup through a pipe", function(sandbox)
    local stream <close> = start(sandbox, "-H", bearer(sandbox, "lookup.number:read"), "-protoset", grpcurl.api,
      "-d", "@", "HOST", "wgtwo.lookup.v0.NumberLookupService/NumberLookup")
    local question = stream:object()
    stream:write(core.json_encode{ number_lookup_request = question, result = { name = "John Doe" } } .. "\n")
    local answers = suite.eventually("an answer", function()
      local list = assert(sandbox:lookups())
      return list[1] and list
    end)
    suite.equal("John Doe", answers[1].name, "name")
    suite.equal(question.id, answers[1].id, "id")
  end)

  -- Being refused ----------------------------------------------------------------------------------------------------

  test("is refused with a token that does not count", function(sandbox)
    suite.contains(fail(16, sandbox, "-H", "Authorization: Bearer nonsense", "-protoset", grpcurl.api,
      "-d", '{ "type": ["SMS_EVENT"] }', "HOST", subscribe), "Code: Unauthenticated")
  end)

  test("is told which scope is missing", function(sandbox)
    local output = fail(7, sandbox, "-H", bearer(sandbox, "events.sms.subscribe"), "-d", '{ "type": ["VOICE_EVENT"] }',
      "HOST", subscribe)
    suite.contains(output, "Code: PermissionDenied", "events.voice.subscribe", "google.rpc.ErrorInfo")
  end)

  test("is told which field is wrong", function(sandbox)
    local output = fail(3, sandbox, "-d", '{ "content": "hi" }', "HOST", send_v1)
    suite.contains(output, "Code: InvalidArgument", "from_subscriber", "google.rpc.BadRequest", '"field"')
  end)

  test("needs a token for calls, and none for reflection, where the sandbox is strict", function(sandbox)
    suite.contains(succeed(sandbox, "HOST", "list"), subscribe:match("^(.*)%."))
    fail(16, sandbox, "-d", '{ "type": ["SMS_EVENT"] }', "HOST", subscribe)
  end, { strict = true })

  test_published("is told that a method is not there", function(sandbox)
    fail(12, sandbox, "-protoset", grpcurl.published, "-d", "{}", "HOST", "wgtwo.phonebook.v0.PhonebookService.Toggle")
  end)

  test("gives up on what is slower than its time", function(sandbox)
    assert(sandbox:fault{ method = send, hang = true })
    fail(4, sandbox, "-max-time", "0.3", "-d", text_message, "HOST", send)
  end)
end
