-- What a request must be, as the API's definitions say, kind by kind: each case changes one field of a valid request.

local core = require("wgtwo.core")
local framing = require("wgtwo.sandbox.framing")
local requests = require("spec.support.requests")
local rules = require("wgtwo.sandbox.rules")
local schema = require("wgtwo.schema")
local support = require("spec.support.sandbox")

local NOTHING <const> = {} -- the field is left out
local METADATA <const> = { metadata = { ["wg2-msisdn"] = "+4799990001" } }

local callforward <const> = "wgtwo.callforward.v0.CallForwardingService/"
local consents <const> = "wgtwo.consents.v0.ConsentService/"
local events_v0 <const> = "wgtwo.events.v0.EventsService/"
local events_v1 <const> = "wgtwo.subscription.v1.SubscriptionEventService/StreamHandsetChangeEvents"
local ir21 <const> = "wgtwo.ir21.v1.Ir21Service/"
local lookup <const> = "wgtwo.lookup.v0.NumberLookupService/NumberLookup"
local mms <const> = "wgtwo.mms.v0.MmsService/"
local network <const> = "wgtwo.subscription.v0.NetworkInfoService/"
local blocks <const> = "wgtwo.number_portability.v1.NumberBlockService/"
local destinations <const> = "wgtwo.number_portability.v1.RoutingDestinationService/"
local porting_v0 <const> = "wgtwo.number_portability.v0.NumberPortabilityService/"
local porting_v1 <const> = "wgtwo.number_portability.v1.NumberPortabilityService/"
local products <const> = "wgtwo.products.v0.ProductService/"
local sim <const> = "wgtwo.sim.v0.SimAuthenticationService/"
local sip <const> = "wgtwo.sipbreakout.v1.SipBreakoutService/"
local sms_v0 <const>, sms_v1 <const> = "wgtwo.sms.v0.SmsService/", "wgtwo.sms.v1.SmsService/"
local subscription <const> = "wgtwo.subscription.v0.SubscriptionIdService/"
local terminal <const> = "wgtwo.webterminal.v0.WebTerminalService/MultiPipe"
local voicemail <const> = "wgtwo.voicemail.v0.VoicemailMediaService/"

-- Moments and lengths of time that there are none of: seconds and nanos, of a Timestamp in a request to add porting
-- records and of the Duration of an SMS. The rock's own client does not send them.
local record <const> = framing.field(1, "+46700000001") -- its subscriber_number is field 1
local times = {
  { porting_v1 .. "CreatePortingRecords", 253402300800, 0, "records[0].valid_from.seconds" },
  { porting_v1 .. "CreatePortingRecords", -62135596801, 0, "records[0].valid_from.seconds" },
  { porting_v1 .. "CreatePortingRecords", 0, -1, "records[0].valid_from.nanos" },
  { porting_v1 .. "CreatePortingRecords", 0, 1000000000, "records[0].valid_from.nanos" },
  { sms_v1 .. "SendTextToSubscriber", 315576000001, 0, "delivery_deadline.seconds" },
  { sms_v1 .. "SendTextToSubscriber", -315576000001, 0, "delivery_deadline.seconds" },
  { sms_v1 .. "SendTextToSubscriber", 0, 1000000000, "delivery_deadline.nanos" },
  { sms_v1 .. "SendTextToSubscriber", 0, -1000000000, "delivery_deadline.nanos" },
}

-- By kind of rule: method, field, a wrong value, and the field that the refusal names where it is another one.
local cases = {
  ["what a request is about is needed"] = {
    { callforward .. "Disable", "subscriber", NOTHING },
    { callforward .. "SetToNumber", "subscriber", NOTHING },
    { callforward .. "SetToNumber", "unconditional.forward_to_number", NOTHING },
    { callforward .. "SetToTrunk", "subscriber", NOTHING },
    { callforward .. "SetToTrunk", "unconditional_trunk_forwarding.forward_to_trunk", NOTHING },
    { callforward .. "SetToVoicemail", "subscriber", NOTHING },
    { consents .. "GetConsentsForSubscription", "id.value", "" },
    { consents .. "CreateConsentForSubscription", "product_id", "" },
    { consents .. "RevokeConsentForSubscription", "product_id", NOTHING },
    { events_v0 .. "Ack", "inbox", "" },
    { ir21 .. "CreateOrUpdateOrganisation", "organisation", NOTHING },
    { ir21 .. "CreateOrUpdateOrganisationFromXml", "xml_file", "" },
    { ir21 .. "CreateDataset", "uuid", NOTHING },
    { lookup, "number_lookup_request", NOTHING },
    { mms .. "SendMessageToSubscriber", "to_subscriber", NOTHING },
    { mms .. "SendMessageFromSubscriber", "from_subscriber", NOTHING },
    { mms .. "SendMessageFromSubscriber", "to_e164", NOTHING },
    { porting_v0 .. "CreatePortingRecords", "records[0].subscriber_number", NOTHING },
    { porting_v1 .. "CreatePortingRecords", "records[0].subscriber_number", NOTHING },
    { destinations .. "CreateOrUpdateDestination", "destination", NOTHING },
    { destinations .. "DeleteDestination", "destination_id", "" },
    { blocks .. "CreateOrUpdateNumberBlock", "block", NOTHING },
    { blocks .. "CreateOrUpdateNumberBlock", "block.destination_id", NOTHING },
    { blocks .. "CreateOrUpdateNumberBlock", "block.prefix", "" },
    { blocks .. "DeleteNumberBlock", "destination_id", "" },
    { blocks .. "DeleteNumberBlock", "prefix", "" },
    { products .. "ListProductsForTenant", "tenant", "" },
    { sim .. "GenerateEapAkaAuthenticationVector", "imsi", NOTHING },
    { sip .. "UpsertRegistration", "registration", NOTHING },
    { sip .. "DeleteRegistration", "registration", NOTHING },
    { subscription .. "GetSubscriptionId", "phone_number", NOTHING },
    { subscription .. "GetMsisdn", "subscription_id", NOTHING },
    { subscription .. "GetMsisdn", "subscription_id.value", "" },
    { network .. "GetNetworkInfoForSubscriber", "phone_number", NOTHING },
    { network .. "GetAttachmentAttemptsForSubscriber", "phone_number", NOTHING },
    { voicemail .. "GetAllVoicemailMetadata", "to", NOTHING },
    { voicemail .. "GetVoicemail", "voicemail_id", "" },
    { voicemail .. "MarkVoicemailAsRead", "voicemail_id", "" },
    { voicemail .. "DeleteVoicemail", "voicemail_id", "" },
    { voicemail .. "ResetVoicemailGreeting", "subscriber", NOTHING },
  },
  ["of a list at least one is needed"] = {
    { events_v0 .. "Subscribe", "type", {} },
    { ir21 .. "SetActiveDataset", "tenant_uuids", {} },
    { mms .. "SendMessageToSubscriber", "message_content", {} },
    { mms .. "SendMessageFromSubscriber", "message_content", {} },
    { porting_v0 .. "CreatePortingRecords", "records", {} },
    { porting_v1 .. "CreatePortingRecords", "records", {} },
  },
  ["one of several is needed"] = {
    { callforward .. "SetToNumber", "unconditional", NOTHING },
    { callforward .. "SetToTrunk", "unconditional_trunk_forwarding", NOTHING },
    { callforward .. "SetToVoicemail", "phone_number", NOTHING, "default" },
    { consents .. "GetConsentsForSubscription", "id", NOTHING },
    { consents .. "CreateConsentForSubscription", "phone_number", NOTHING, "id" },
    { consents .. "RevokeConsentForSubscription", "phone_number", NOTHING, "id" },
    { lookup, "result", NOTHING },
    { mms .. "SendMessageToSubscriber", "from_text_address", NOTHING, "from_e164" },
    { mms .. "SendMessageToSubscriber", "message_content[0].text", NOTHING, "message_content[0].audio" },
    { mms .. "SendMessageToSubscriber", "message_content[1].image.png", NOTHING },
    { mms .. "SendMessageToSubscriber", "message_content[2].audio.amr", NOTHING, "message_content[2].audio.mp3" },
  },
  ["numbers are E.164 with a plus"] = {
    { subscription .. "GetSubscriptionId", "phone_number.e164", "4799990001" },
    { subscription .. "GetSubscriptionId", "phone_number.e164", "" },
    { subscription .. "GetSubscriptionId", "phone_number.e164", "+0799990001" },
    { subscription .. "GetSubscriptionId", "phone_number.e164", "+1234567890123456" },
    { subscription .. "GetSubscriptionId", "phone_number.e164", "+47 99990001" },
    { callforward .. "SetToNumber", "unconditional.forward_to_number.e164", "1" },
    { lookup, "number_lookup_request.number.e164", "4799990001" },
    { porting_v0 .. "CreatePortingRecords", "records[0].subscriber_number.e164", "none" },
    { sip .. "UpsertRegistration", "registration.phone_number.e164", "4799990001" },
    { sms_v0 .. "SendTextToSubscriber", "to_subscriber.e164", "4799990001" },
    { terminal, "offer.msisdn.e164", "somebody" },
  },
  ["short numbers are digits, names have a letter"] = {
    { sms_v0 .. "SendTextFromSubscriber", "to_short_number.national_phone_number", "+2020" },
    { sms_v0 .. "SendTextFromSubscriber", "to_short_number.national_phone_number", "" },
    { sms_v0 .. "SendTextToSubscriberAsOperator", "from_operator_address.text_address", "a-b" },
    { mms .. "SendMessageToSubscriber", "from_text_address.text_address", "2020" },
    { mms .. "SendMessageToSubscriber", "from_text_address.text_address", "" },
  },
  ["identities and addresses have their form"] = {
    { sim .. "GenerateEapAkaAuthenticationVector", "imsi.value", "24299000000000a" },
    { sim .. "GenerateEapAkaAuthenticationVector", "imsi.value", "2429900000000001" },
    { sim .. "GenerateEapAkaAuthenticationVector", "imsi.value", "24299" },
    { sim .. "GenerateEapAkaAuthenticationVector", "imsi.value", "" },
    { callforward .. "SetToTrunk", "unconditional_trunk_forwarding.forward_to_trunk.id", "trunk" },
    { callforward .. "SetToTrunk", "unconditional_trunk_forwarding.forward_to_trunk.id", "" },
    { ir21 .. "CreateOrUpdateOrganisation", "organisation.tadigs[0].tadig", "NORTMX" },
    { ir21 .. "CreateOrUpdateOrganisation", "organisation.tadigs[0].tadig", "12345" },
    { ir21 .. "CreateOrUpdateOrganisation", "organisation.tadigs[0].mccmncs[0].mcc", "24" },
    { ir21 .. "CreateOrUpdateOrganisation", "organisation.tadigs[0].mccmncs[0].mnc", "0001" },
    { ir21 .. "CreateOrUpdateOrganisation", "organisation.tadigs[0].realms[0]", "no domain" },
    { ir21 .. "CreateOrUpdateOrganisation", "organisation.tadigs[0].gt_prefixes[0]", "+4790" },
    { ir21 .. "CreateOrUpdateOrganisation", "organisation.tadigs[0].gt_prefixes[0]", "" },
    { blocks .. "CreateOrUpdateNumberBlock", "block.prefix", "+47" },
    { blocks .. "DeleteNumberBlock", "prefix", "47-" },
    { blocks .. "ListNumberBlocks", "prefix", "x" },
    { sip .. "UpsertRegistration", "registration.sip_uri", "pbx.example.com" },
    { sip .. "DeleteRegistration", "registration.sip_uri", "https://pbx.example.com" },
  },
  ["UUIDs of IR.21 are 16 bytes"] = {
    { ir21 .. "CreateOrUpdateOrganisation", "dataset_uuid", "" },
    { ir21 .. "CreateOrUpdateOrganisation", "organisation.uuid", "00000000-0000-4000-8000-000000000001" },
    { ir21 .. "CreateOrUpdateOrganisationFromXml", "dataset_uuid", "u" },
    { ir21 .. "DeleteOrganisation", "dataset_uuid", "u" },
    { ir21 .. "DeleteOrganisation", "organisation_uuid", "u" },
    { ir21 .. "GetOrganisation", "dataset_uuid", "u" },
    { ir21 .. "GetOrganisation", "organisation_uuid", ("u"):rep(17) },
    { ir21 .. "ListOrganisations", "dataset_uuid", "u" },
    { ir21 .. "CreateDataset", "uuid", ("u"):rep(15) },
    { ir21 .. "DeleteDataset", "uuid", "u" },
    { ir21 .. "CopyDataset", "source_uuid", "u" },
    { ir21 .. "CopyDataset", "destination_uuid", "u" },
    { ir21 .. "SetActiveDataset", "dataset_uuid", "u" },
    { ir21 .. "SetActiveDataset", "tenant_uuids", { ("u"):rep(16), "u" }, "tenant_uuids[1]" },
  },
  ["numbers have their range"] = {
    { consents .. "ListConsentsForProduct", "pagination.page_size", -1 },
    { events_v1, "stream_configuration.max_in_flight", 201 },
    { ir21 .. "CreateOrUpdateOrganisation", "organisation.tadigs[0].gt_ranges[0].start", -1 },
    { ir21 .. "CreateOrUpdateOrganisation", "organisation.tadigs[0].gt_ranges[0].stop", -1 },
    { sms_v1 .. "SendDataToSubscriber", "protocol_identifier", 256 },
    { sms_v1 .. "SendDataToSubscriber", "protocol_identifier", -1 },
    { sms_v1 .. "SendDataToSubscriber", "application_port.originator_port", 0x10000 },
    { sms_v1 .. "SendDataToSubscriber", "application_port.destination_port", 0x10000 },
    { sms_v0 .. "SendBinaryToSubscriber", "applicationPort.originatorPort", 0x10000 },
    { sms_v0 .. "SendBinaryToSubscriber", "applicationPort.destinationPort", 0x10000 },
  },
  ["names have their length"] = {
    { lookup, "result.name", ("x"):rep(61) },
    { lookup, "result.name", ("å"):rep(61) },
  },
  ["durations have their range"] = {
    { events_v0 .. "Subscribe", "start_at_time_delta", -1 },
    { events_v0 .. "Subscribe", "manual_ack.timeout", 0 },
    { events_v1, "stream_configuration.custom_ack_timeout", 9.999 },
    { events_v1, "stream_configuration.custom_ack_timeout", 600.001 },
    { lookup, "cache_control.max_age", 899 },
  },
  ["the second of two is not less than the first"] = {
    { network .. "GetAttachmentAttemptsForSubscriber", "filter_by_interval.before", { seconds = 0, nanos = 0 } },
    { ir21 .. "CreateOrUpdateOrganisation", "organisation.tadigs[0].gt_ranges[0].stop", 1 },
  },
  ["enums have one of their values, and where it is needed not the zero"] = {
    { blocks .. "CreateOrUpdateNumberBlock", "block.status", 99 },
    { blocks .. "ListNumberBlocks", "status", 99 },
    { events_v0 .. "Subscribe", "type", { "SMS_EVENT", 99 }, "type[1]" },
    { events_v0 .. "Subscribe", "type", { "UNSPECIFIED" }, "type[0]" },
    { sip .. "UpsertRegistration", "registration.route_type", 99 },
    { sms_v0 .. "SendBinaryToSubscriber", "message_class", 99 },
    { sms_v1 .. "SendDataToSubscriber", "message_class", 99 },
  },
}

--- The keys of a path: { "records", 1, "e164" } of "records[0].e164".
local function keys_of(path)
  local keys = {}
  for name, index in path:gmatch("([%w_]+)%[?(%d*)%]?") do
    keys[#keys + 1] = name
    if index ~= "" then keys[#keys + 1] = math.tointeger(tonumber(index)) + 1 end
  end
  return keys
end

local function changed(method, path, value)
  local request = requests.valid(method)
  local place, keys = request, keys_of(path)
  for i = 1, #keys - 1 do place = assert(place[keys[i]], path) end
  if rawequal(value, NOTHING) then value = nil end
  place[keys[#keys]] = value
  return request
end

local function type_of(type_name, name)
  for _, field in ipairs(schema.describe(type_name).fields) do
    if field.name == name then return field.type_name end
  end
end

--- The message type and the field at the end of a path: "pkg.Type.field".
local function field_at(method, path)
  local type_name = schema.resolve(method).input_type
  local parents, name = path:gsub("%[%d+%]", ""):match("^(.-)%.?([^.]+)$")
  for parent in parents:gmatch("[^.]+") do type_name = type_of(type_name, parent) end
  return type_name .. "." .. name
end

describe("sandbox requests:", function()
  local sandbox, client

  setup(function()
    sandbox, client = support.start_with_client({ clock = "virtual" })
  end)

  teardown(function() support.close(sandbox, client) end)

  local function refusal(method, request)
    local resolved = schema.resolve(method)
    if resolved.kind == "unary" then
      local reply, err = client:call(method, request)
      assert.is_nil(reply)
      return err
    end
    local many = resolved.client_streaming
    local stream <close> = assert(client:stream(method, not many and request or nil, METADATA))
    if many then assert(stream:write(request)) end
    local _, err = support.ending(stream)
    return err
  end

  for kind, list in pairs(cases) do
    it(kind, function()
      for _, case in ipairs(list) do
        local method, path, value, field = table.unpack(case)
        field = field or path
        local err = refusal(method, changed(method, path, value))
        local what = ("%s, %s: %s"):format(method, path, tostring(err))
        assert.equal("INVALID_ARGUMENT", err and err.code, what)
        assert.equal("google.rpc.BadRequest", err.details[1].type, what)
        local violation = err.details[1].field_violations[1]
        assert.equal(field, violation.field, what)
        assert.not_equal("", violation.description)
        assert.equal(field .. ": " .. violation.description, err.message)
      end
    end)
  end

  --- The status of a call whose request is bytes.
  local function status_of(method, request)
    local channel <close> = assert(core.channel{ target = sandbox.plaintext_target, plaintext = true })
    local call <close> = core.call(channel, { path = "/" .. method, kind = "unary", request = request,
      reply = schema.resolve(method).output, timeout = 5 })
    support.until_(function() return call:take() == nil end, "the answer")
    return call:status().code, call:status().message
  end

  it("timestamps are from the years 1 to 9999, durations at most 10,000 years", function()
    for _, case in ipairs(times) do
      local method, seconds, nanos, field = table.unpack(case)
      -- any two int64 of the numbers 1 and 2 are the same bytes
      local time = core.encode(schema.type("wgtwo.ir21.v1.GtRange"), { start = seconds, stop = nanos })
      local request = method:find("^" .. sms_v1) and framing.field(4, time)
        or framing.field(1, framing.field(1, record) .. framing.field(2, time))
      local code, message = status_of(method, request)
      assert.equal(3, code)
      assert.equal(field, message:match("^(.-): must be "))
    end
  end)

  it("strings are valid UTF-8 without zero bytes; the call hung, and no journal could be read", function()
    local metadata_entry <const> = framing.field(1, "key")
    for _, value in ipairs{ "\xFF", "a\0b" } do
      local inside = framing.field(1, value)
      local texts = {
        { subscription .. "GetSubscriptionId", framing.field(1, inside), "phone_number.e164" },
        { subscription .. "GetMsisdn", framing.field(1, inside), "subscription_id.value" },
        { ir21 .. "CreateDataset", framing.field(1, ("u"):rep(16)) .. framing.field(2, value), "comment" },
        { sms_v1 .. "SendTextToSubscriber", inside, "content" },
        { consents .. "CreateConsentForSubscription",
          framing.field(2, "p") .. framing.field(3, metadata_entry .. framing.field(2, value)), "metadata" },
      }
      for _, case in ipairs(texts) do
        local code, message = status_of(case[1], case[2])
        assert.equal(3, code)
        assert.matches(("^%s: must "):format(case[3]), message)
      end
    end
    assert.is_table(sandbox:journal()[1])
  end)

  it("every rule has a case", function()
    local tried = {}
    for _, case in ipairs(times) do tried[field_at(case[1], case[4])] = true end
    for _, list in pairs(cases) do
      for _, case in ipairs(list) do tried[field_at(case[1], case[4] or case[2])] = true end
    end
    for type_name, fields in pairs(rules) do
      for name, rule in pairs(fields) do
        if type(name) == "number" then name = rule.one_of and rule.one_of[1] or rule.in_order[2] end
        local found = tried[type_name .. "." .. name]
        assert.is_true(found, ("no case breaks the rule of %s.%s"):format(type_name, name))
      end
    end
  end)

  it("every rule is about a field that there is", function()
    for type_name, fields in pairs(rules) do
      local known = {}
      for _, field in ipairs(assert(schema.describe(type_name), type_name).fields) do known[field.name] = true end
      for name, rule in pairs(fields) do
        for _, field in ipairs(type(name) == "number" and (rule.one_of or rule.in_order) or { name }) do
          assert.is_true(known[field], type_name .. "." .. field)
        end
      end
    end
  end)

  it("the edges of every range are valid", function()
    local edges = {
      { consents .. "ListConsentsForProduct", "pagination.page_size", 0 },
      { sms_v1 .. "SendDataToSubscriber", "protocol_identifier", 0 },
      { sms_v1 .. "SendDataToSubscriber", "protocol_identifier", 255 },
      { subscription .. "GetSubscriptionId", "phone_number.e164", "+123456789012345" },
      { sim .. "GenerateEapAkaAuthenticationVector", "imsi.value", "242990" },
      { ir21 .. "CreateOrUpdateOrganisation", "organisation.uuid", NOTHING },
      { ir21 .. "CreateOrUpdateOrganisation", "organisation.tadigs[0].mccmncs[0].mnc", "001" },
      { ir21 .. "CreateOrUpdateOrganisation", "organisation.tadigs[0].gt_ranges[0].stop", 4790000000 },
      { network .. "GetAttachmentAttemptsForSubscriber", "filter_by_interval.before", NOTHING },
      { porting_v1 .. "CreatePortingRecords", "records[0].valid_from", { seconds = 253402300799, nanos = 999999999 } },
      { blocks .. "ListNumberBlocks", "prefix", NOTHING },
      { sip .. "UpsertRegistration", "registration.sip_uri", "sips:user@pbx.example.com:5061" },
    }
    for _, case in ipairs(edges) do assert(client:call(case[1], changed(table.unpack(case)))) end
    for _, seconds in ipairs{ 10, 600 } do
      local stream <close> = support.open(sandbox, client, events_v1,
        changed(events_v1, "stream_configuration.custom_ack_timeout", seconds))
      assert.is_truthy(stream)
    end
  end)

  it("a refused request has no effect", function()
    assert(sandbox:reset())
    refusal(events_v1, changed(events_v1, "stream_configuration.max_in_flight", 201))
    refusal(sms_v1 .. "SendDataToSubscriber", changed(sms_v1 .. "SendDataToSubscriber", "protocol_identifier", 256))
    assert.same({ {}, {} }, { sandbox:streams(), sandbox:events() })
  end)

  it("the valid ones are answered, by every unary method", function()
    for _, method in ipairs(schema.methods()) do
      if method.kind == "unary" then
        local reply, err = client:call(method.name, requests.valid(method.name))
        assert(reply, tostring(err))
        assert.is_string(core.bytes(reply))
      end
    end
  end)
end)
