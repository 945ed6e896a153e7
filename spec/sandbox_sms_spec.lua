local support = require("spec.support.sandbox")

local read, quiet = support.read, support.quiet

local SUBSCRIBE <const> = "wgtwo.events.v0.EventsService/Subscribe"
local V1 <const>, V0 <const> = "wgtwo.sms.v1.SmsService/", "wgtwo.sms.v0.SmsService/"
local SCOPES <const> = { "events.sms.subscribe", "events.sms_delivery_report.subscribe", "sms.text:send_to_subscriber",
  "sms.text:send_from_subscriber", "sms.data:send_to_subscriber", "sms.send.from_subscriber",
  "sms.send.to_subscriber", "sms.send.to_subscriber_as_operator", "sms.send.to_subscriber_as_product" }

describe("sandbox SMS:", function()
  local sandbox, client, events

  setup(function()
    sandbox, client = support.start_with_client({ clock = "virtual", clients = {
      { id = "id", secret = "secret" }, { id = "other", secret = "secret2" },
    } }, SCOPES)
  end)

  teardown(function() support.close(sandbox, client) end)

  before_each(function()
    assert(sandbox:reset())
    events = support.open(sandbox, client, SUBSCRIBE, { type = { "SMS_EVENT", "SMS_DELIVERY_REPORT_EVENT" } })
  end)

  after_each(function() events:close() end)

  local function call(method, request) return client:call(method, request) end

  it("a text to a subscriber becomes an event, then a delivery report", function()
    local reply = assert(call(V1 .. "SendTextToSubscriber",
      { content = "hello", to_subscriber = "+4799990001", from_address = "Shop", delivery_deadline = 3600 }))
    assert.equal("SEND_STATUS_OK", reply.status)
    assert.equal(1, reply.num_fragments)
    assert.not_equal("", reply.message_id)
    local event = read(events).event
    assert.equal("+4799990001", event.owner.phone_number.e164)
    local sms = event.sms_event
    assert.equal(reply.message_id, sms.id)
    assert.equal("hello", sms.text)
    assert.equal("Shop", sms.from_text_address.text_address)
    assert.equal("+4799990001", sms.to_e164.e164)
    assert.equal("TO_SUBSCRIBER", sms.direction)
    assert.not_equal("", sms.uuid)
    local report = read(events).event.sms_delivery_report_event
    assert.equal(sms.id, report.sms_id)
    assert.equal("DELIVERED", report.status)
    assert.equal("TO_SUBSCRIBER", report.direction)
    assert.equal("+4799990001", report.to_e164.e164)
    quiet(sandbox, events)
  end)

  it("a text from a subscriber to somebody else", function()
    assert(call(V1 .. "SendTextFromSubscriber",
      { content = "hi", from_subscriber = "+4799990001", to_address = "+46700000001" }))
    local sms = read(events).event.sms_event
    assert.equal("FROM_SUBSCRIBER", sms.direction)
    assert.equal("+4799990001", sms.from_e164.e164)
    assert.equal("FROM_SUBSCRIBER", read(events).event.sms_delivery_report_event.direction)
    quiet(sandbox, events)
  end)

  it("between two subscribers: both directions, with ids of their own and one uuid", function()
    assert(call(V1 .. "SendTextFromSubscriber",
      { content = "hi", from_subscriber = "+4799990001", to_address = "+4799990002" }))
    local out, into = read(events).event, read(events).event
    assert.equal("FROM_SUBSCRIBER", out.sms_event.direction)
    assert.equal("+4799990001", out.owner.phone_number.e164)
    assert.equal("TO_SUBSCRIBER", into.sms_event.direction)
    assert.equal("+4799990002", into.owner.phone_number.e164)
    assert.equal(out.sms_event.uuid, into.sms_event.uuid)
    assert.not_equal(out.sms_event.id, into.sms_event.id)
    assert.is_truthy(read(events).event.sms_delivery_report_event)
    quiet(sandbox, events)
  end)

  it("a subscriber texting itself gives both directions", function()
    assert(call(V1 .. "SendTextFromSubscriber",
      { content = "hi", from_subscriber = "+4799990001", to_address = "+4799990001" }))
    assert.equal("FROM_SUBSCRIBER", read(events).event.sms_event.direction)
    assert.equal("TO_SUBSCRIBER", read(events).event.sms_event.direction)
  end)

  it("data, with and without ports; bytes arrive as bytes", function()
    local bytes = "\0\1\255"
    assert(call(V1 .. "SendDataToSubscriber", { content = bytes, to_subscriber = "+4799990001", from_address = "123",
      application_port = { originator_port = 1, destination_port = 2 } }))
    local sms = read(events).event.sms_event
    assert.equal(bytes, sms.bytes)
    assert.equal("123", sms.from_national_phone_number.national_phone_number)
  end)

  it("num_fragments: texts of 7 and 16 bits, data, data with ports", function()
    local function text(content)
      return assert(call(V1 .. "SendTextToSubscriber",
        { content = content, to_subscriber = "+4799990001", from_address = "Shop" })).num_fragments
    end
    local function data(size, ports)
      return assert(call(V1 .. "SendDataToSubscriber", { content = ("x"):rep(size), to_subscriber = "+4799990001",
        from_address = "Shop", application_port = ports and { originator_port = 1 } or nil })).num_fragments
    end
    assert.same({ 1, 2, 2, 3, 1, 2 }, { text(("a"):rep(160)), text(("a"):rep(161)), text(("a"):rep(306)),
      text(("a"):rep(307)), text(("å"):rep(160)), text(("ł"):rep(71)) })
    assert.same({ 1, 2, 1, 2 }, { data(140), data(141), data(133, true), data(134, true) })
  end)

  it("v0: every method, with its addresses", function()
    local to = { e164 = "+4799990001" }
    local requests = {
      SendTextToSubscriber = { content = "t", from_e164 = { e164 = "+46700000001" }, to_subscriber = to },
      SendTextFromSubscriber = { content = "t", from_subscriber = to, to_short_number = {
        national_phone_number = "12345" } },
      SendBinaryToSubscriber = { content = "b", from_short_number = { national_phone_number = "12345" },
        to_subscriber = to },
      SendTextToSubscriberAsOperator = { content = "t", from_operator_address = { text_address = "Op" },
        to_subscriber = to },
      SendTextToSubscriberAsProduct = { content = "t", from_product_address = { text_address = "Pr" },
        to_subscriber = to },
    }
    for name, request in pairs(requests) do
      local reply = assert(call(V0 .. name, request))
      assert.equal("SEND_OK", reply.status)
      assert.equal(reply.request_id, read(events).event.sms_event.id)
      assert.is_truthy(read(events).event.sms_delivery_report_event)
    end
  end)

  it("a number in 0404 is rejected, one in 0503 fails temporarily; both with gRPC status OK", function()
    local function send(to)
      local reply = assert(call(V1 .. "SendTextToSubscriber", { content = "x", to_subscriber = to,
        from_address = "Shop" }))
      return reply.status, reply.description
    end
    local status, description = send("+4799990404")
    assert.equal("SEND_STATUS_REJECT", status)
    assert.not_equal("", description)
    assert.equal("SEND_STATUS_ERROR", (send("+4799990503")))
    local reply = assert(call(V0 .. "SendTextToSubscriber", { content = "x", to_subscriber = { e164 = "+4799990404" },
      from_text_address = { text_address = "Shop" } }))
    assert.equal("SEND_REJECT", reply.status)
    quiet(sandbox, events)
  end)

  it("wrong fields are INVALID_ARGUMENT, with the field", function()
    local text, data = V1 .. "SendTextToSubscriber", V1 .. "SendDataToSubscriber"
    local function with(more)
      local request = { content = "x", to_subscriber = "+4799990001", from_address = "Shop" }
      for name, value in pairs(more) do request[name] = value end
      return request
    end
    local cases = {
      { text, with{ content = "" }, "content" },
      { text, with{ content = ("x"):rep(2001) }, "content" },
      { text, with{ content = ("😀"):rep(1001) }, "content" },
      { text, with{ to_subscriber = "4799990001" }, "to_subscriber" },
      { text, with{ to_subscriber = "" }, "to_subscriber" },
      { text, with{ to_subscriber = "+1234567890123456" }, "to_subscriber" },
      { text, with{ from_address = "a-b" }, "from_address" },
      { text, with{ from_address = "" }, "from_address" },
      { text, with{ delivery_deadline = 7 * 24 * 3600 + 1 }, "delivery_deadline" },
      { data, with{ content = ("x"):rep(2001) }, "content" },
      { V1 .. "SendTextFromSubscriber", { content = "x", from_subscriber = "1", to_address = "+46700000001" },
        "from_subscriber" },
      { V1 .. "SendTextFromSubscriber", { content = "x", from_subscriber = "+4799990001", to_address = "Shop" },
        "to_address" },
      { V0 .. "SendTextToSubscriber", { content = "x", to_subscriber = { e164 = "+4799990001" } }, "from_e164" },
      { V0 .. "SendTextToSubscriber", { content = "x", from_e164 = { e164 = "+46700000001" } }, "to_subscriber" },
    }
    for _, case in ipairs(cases) do
      local reply, err = call(case[1], case[2])
      assert.is_nil(reply)
      assert.equal("INVALID_ARGUMENT", err.code)
      assert.equal(case[3], err.details[1].field_violations[1].field)
      assert.matches(case[3], err.message, 1, true)
    end
    quiet(sandbox, events)
    assert(call(text, with{ content = ("😀"):rep(1000) }))
    assert(call(text, with{ delivery_deadline = 7 * 24 * 3600 }))
  end)

  it("the same request twice is two messages: nothing marks a repetition", function()
    local request = { content = "x", to_subscriber = "+4799990001", from_address = "Shop" }
    local one = assert(call(V1 .. "SendTextToSubscriber", request))
    local two = assert(call(V1 .. "SendTextToSubscriber", request))
    assert.not_equal(one.message_id, two.message_id)
    local first, report, second = read(events).event, read(events).event, read(events).event
    assert.is_truthy(report.sms_delivery_report_event)
    assert.same({ one.message_id, two.message_id }, { first.sms_event.id, second.sms_event.id })
    assert.not_equal(first.sms_event.uuid, second.sms_event.uuid)
  end)

  it("the events go to the OAuth client that sent, and to no other", function()
    local other <close> = support.connect(sandbox, SCOPES, "other", "secret2")
    local theirs <close> = support.open(sandbox, other, SUBSCRIBE, { type = { "SMS_EVENT" } })
    assert(call(V1 .. "SendTextToSubscriber", { content = "x", to_subscriber = "+4799990001", from_address = "Shop" }))
    read(events)
    quiet(sandbox, theirs)
  end)

  it("without a token they go to streams without one", function()
    local nobody <close> = support.connect(sandbox)
    local stream <close> = support.open(sandbox, nobody, SUBSCRIBE, { type = { "SMS_EVENT" } })
    assert(nobody:call(V1 .. "SendTextToSubscriber",
      { content = "x", to_subscriber = "+4799990001", from_address = "Shop" }))
    assert.equal("x", read(stream).event.sms_event.text)
    quiet(sandbox, events)
  end)

  it("the delivery report may come later", function()
    local slow <close> = support.start{ clock = "virtual", delivery_report_delay = 5 }
    local by <close> = support.connect(slow)
    assert(by:call(V1 .. "SendTextToSubscriber", { content = "x", to_subscriber = "+4799990001",
      from_address = "Shop" }))
    assert.equal(1, #slow:events())
    slow:advance(5)
    assert.equal("SMS_DELIVERY_REPORT_EVENT", slow:events()[2].type)
    assert(by:call(V1 .. "SendTextToSubscriber", { content = "x", to_subscriber = "+4799990001",
      from_address = "Shop" }))
    slow:reset()
    slow:advance(5)
    assert.same({}, slow:events()) -- its report would be of an SMS that is not there
  end)
end)
