-- A valid request for every method that needs more than an empty one, with as many fields as the API's rules are about.

local requests = {}

local SUBSCRIBER <const> = { e164 = "+4799990001" }
local OTHER <const> = { e164 = "+46700000001" }
local UUID <const>, UUID_BYTES <const> = "00000000-0000-4000-8000-000000000001", ("u"):rep(16)
local TIME <const> = { seconds = 1767225600, nanos = 0 }

local valid = {}

local function service(name, methods)
  for method, request in pairs(methods) do valid[name .. "/" .. method] = request end
end

service("wgtwo.callforward.v0.CallForwardingService", {
  Disable = { subscriber = SUBSCRIBER },
  SetToNumber = { subscriber = SUBSCRIBER, unconditional = { forward_to_number = OTHER } },
  SetToTrunk = { subscriber = SUBSCRIBER, unconditional_trunk_forwarding = { forward_to_trunk = { id = UUID } } },
  SetToVoicemail = { subscriber = SUBSCRIBER, phone_number = OTHER },
})

service("wgtwo.consents.v0.ConsentService", {
  GetConsentsForSubscription = { id = { value = "s", tenant = { name = "t" } } },
  CreateConsentForSubscription = { phone_number = SUBSCRIBER, product_id = "p", metadata = { key = "value" } },
  RevokeConsentForSubscription = { phone_number = SUBSCRIBER, product_id = "p" },
  ListConsentsForProduct = { pagination = { page_size = 10 } },
})

local configuration = { stream_configuration = { durable_queue = { custom_name = "requests" }, custom_ack_timeout = 30,
  max_in_flight = 50, start_at_timestamp = TIME } }

service("wgtwo.consents.v1.ConsentEventService", { StreamConsentChangeEvents = configuration })

service("wgtwo.events.v0.EventsService", {
  Subscribe = { type = { "SMS_EVENT" }, start_at_time_delta = 60, client_id = "c", queue_name = "q",
    durable_name = "d", max_in_flight = 50, manual_ack = { enable = true, timeout = 30 } },
  Ack = { inbox = "inbox", sequence = 1 },
})

local file = { dataset_uuid = UUID_BYTES, xml_file = "<TADIG/>" }
local organisation = { dataset_uuid = UUID_BYTES, organisation_uuid = UUID_BYTES }

service("wgtwo.ir21.v1.Ir21Service", {
  CreateOrUpdateOrganisation = { dataset_uuid = UUID_BYTES, organisation = { uuid = UUID_BYTES, name = "Operator",
    tadigs = {
    { tadig = "NORTM", mccmncs = { { mcc = "242", mnc = "01" } }, gt_prefixes = { "4790" },
      realms = { "epc.mnc001.mcc242.3gppnetwork.org" }, gt_ranges = { { start = 4790000000, stop = 4790000999 } } },
  } } },
  CreateOrUpdateOrganisationFromXml = file,
  DeleteOrganisation = organisation,
  GetOrganisation = organisation,
  ListOrganisations = { dataset_uuid = UUID_BYTES },
  CreateDataset = { uuid = UUID_BYTES, comment = "c" },
  DeleteDataset = { uuid = UUID_BYTES },
  CopyDataset = { source_uuid = UUID_BYTES, destination_uuid = ("v"):rep(16) },
  SetActiveDataset = { dataset_uuid = UUID_BYTES, tenant_uuids = { UUID_BYTES } },
})

service("wgtwo.lookup.v0.NumberLookupService", {
  NumberLookup = { number_lookup_request = { id = "q", number = OTHER, recipient = SUBSCRIBER },
    result = { name = "Somebody" }, cache_control = { max_age = 900 } },
})

local parts = { { text = { text = "t" } }, { image = { png = "p" } }, { audio = { amr = "a" } } }

service("wgtwo.mms.v0.MmsService", {
  SendMessageToSubscriber = { message_content = parts, from_text_address = { text_address = "Shop" },
    to_subscriber = SUBSCRIBER },
  SendMessageFromSubscriber = { message_content = parts, from_subscriber = SUBSCRIBER, to_e164 = OTHER },
})

service("wgtwo.number_portability.v0.NumberPortabilityService", {
  CreatePortingRecords = { records = { { subscriber_number = OTHER, operator_code = "o", valid_from = TIME } } },
})

service("wgtwo.number_portability.v1.NumberPortabilityService", {
  CreatePortingRecords = { records = { { subscriber_number = OTHER, destination_id = "d", valid_from = TIME } } },
})

service("wgtwo.number_portability.v1.RoutingDestinationService", {
  CreateOrUpdateDestination = { destination = { id = "d", name = "n", routing_code = "r" } },
  DeleteDestination = { destination_id = "d" },
})

service("wgtwo.number_portability.v1.NumberBlockService", {
  CreateOrUpdateNumberBlock = { block = { destination_id = "d", prefix = "4799", status = "F_FREE" } },
  DeleteNumberBlock = { destination_id = "d", prefix = "4799" },
  ListNumberBlocks = { prefix = "47", status = "B_BLOCKED" },
})

service("wgtwo.products.v0.ProductService", { ListProductsForTenant = { tenant = "t" } })

service("wgtwo.sim.v0.SimAuthenticationService", {
  GenerateEapAkaAuthenticationVector = { imsi = { value = "242990000000001" } },
})

local registration = { registration = { sip_uri = "sip:pbx.example.com", route_type = "ROUTE_TYPE_LOOP",
  phone_number = SUBSCRIBER } }

service("wgtwo.sipbreakout.v1.SipBreakoutService", {
  UpsertRegistration = registration,
  DeleteRegistration = registration,
})

service("wgtwo.sms.v0.SmsService", {
  SendTextFromSubscriber = { content = "t", from_subscriber = SUBSCRIBER,
    to_short_number = { national_phone_number = "2020" } },
  SendBinaryToSubscriber = { content = "b", from_text_address = { text_address = "Shop" }, to_subscriber = SUBSCRIBER,
    message_class = "CLASS1", applicationPort = { originatorPort = 0, destinationPort = 0xFFFF } },
  SendTextToSubscriber = { content = "t", from_e164 = OTHER, to_subscriber = SUBSCRIBER },
  SendTextToSubscriberAsOperator = { content = "t", from_operator_address = { text_address = "Op" },
    to_subscriber = SUBSCRIBER },
  SendTextToSubscriberAsProduct = { content = "t", from_product_address = { text_address = "Pr" },
    to_subscriber = SUBSCRIBER },
})

service("wgtwo.sms.v1.SmsService", {
  SendTextFromSubscriber = { content = "t", from_subscriber = "+4799990001", to_address = "2020",
    delivery_deadline = 3600 },
  SendTextToSubscriber = { content = "t", to_subscriber = "+4799990001", from_address = "Shop",
    delivery_deadline = 3600 },
  SendDataToSubscriber = { content = "b", to_subscriber = "+4799990001", from_address = "Shop",
    delivery_deadline = 3600, application_port = { originator_port = 0, destination_port = 0xFFFF },
    protocol_identifier = 0x7F, message_class = "MESSAGE_CLASS_SIM_SPECIFIC" },
})

service("wgtwo.subscription.v0.SubscriptionIdService", {
  GetSubscriptionId = { phone_number = SUBSCRIBER },
  GetMsisdn = { subscription_id = { value = "s" } },
})

service("wgtwo.subscription.v0.NetworkInfoService", {
  GetNetworkInfoForSubscriber = { phone_number = SUBSCRIBER },
  GetAttachmentAttemptsForSubscriber = { phone_number = SUBSCRIBER, max_attempts = 10,
    filter_by_interval = { after = TIME, before = { seconds = TIME.seconds + 60, nanos = 0 } } },
})

service("wgtwo.voicemail.v0.VoicemailMediaService", {
  GetAllVoicemailMetadata = { to = SUBSCRIBER },
  GetVoicemail = { voicemail_id = "v" },
  MarkVoicemailAsRead = { voicemail_id = "v" },
  DeleteVoicemail = { voicemail_id = "v" },
  ResetVoicemailGreeting = { subscriber = SUBSCRIBER },
})

service("wgtwo.webterminal.v0.WebTerminalService", {
  MultiPipe = { call_id = UUID, offer = { sdp = "v=0", msisdn = OTHER } },
})

for _, name in ipairs{ "HandsetChange", "FirstAttachment", "CountryChange", "PeriodicCountry" } do
  service("wgtwo.subscription.v1.SubscriptionEventService", { ["Stream" .. name .. "Events"] = configuration })
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local copied = {}
  for key, part in pairs(value) do copied[key] = copy(part) end
  return copied
end

--- A valid request of a method, to be changed at will.
-- @tparam string method its full name
-- @treturn table
function requests.valid(method)
  return copy(valid[method] or {})
end

return requests
