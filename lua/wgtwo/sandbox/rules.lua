--- What the fields of requests must be, as the API's definitions say: data, checked by `wgtwo.sandbox.requests`.
--
-- By message type, then by field. A rule has some of these:
--
--   * `needed`: an empty value is wrong; of a list it means at least one, of an enum not its zero;
--   * `pattern` and `length` ({ min, max }) of a string, and `text`, which says the same for people;
--   * `size` of bytes; `min`, `max`, `above` of a number, or of the seconds of a Duration;
--   * `check`: a function that gives nil for a good value, else what is wrong with it.
--
-- The rule of a list holds for each of its elements. The list part of a type has rules over several fields: `one_of`,
-- of which one has to be set, and `in_order`, of which the second must not be less than the first.
--
-- The definitions never say "required". Undocumented, so chosen here: what a request is about has to be there
-- (`needed`), the rest need not. Enums and the ranges of Timestamp and Duration need no entry for each field.
--
-- @module wgtwo.sandbox.rules

local checks = require "wgtwo.sms.checks"
local limits = require "wgtwo.limits"

local NEEDED <const> = { needed = true }
local E164 <const> = { needed = true, check = checks.subscriber }
local UUID_BYTES <const> = { needed = true, size = 16 }
local UUID_BYTES_IF_ANY <const> = { size = 16 }
local PORT <const> = { min = 0, max = 0xFFFF }
local SIGNED_NANOS <const> = { min = -999999999, max = 999999999 }

local function text(pattern, description, options)
  options = options or {}
  return { pattern = pattern, text = description, length = options.length, needed = options.needed }
end

local DIGITS <const> = text("^%d+$", "digits only")
local NEEDED_DIGITS <const> = text("^%d+$", "digits only", { needed = true })
local UUID <const> = text("^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$",
  "a UUID such as 00000000-0000-4000-8000-000000000001", { needed = true })

local function one_of(...) return { one_of = { ... } } end

local ack_timeout, in_flight = limits.events_v1.ack_timeout, limits.events_v1.max_in_flight

local rules = {}

local function define(name, types)
  for type_name, fields in pairs(types) do rules[name .. "." .. type_name] = fields end
end

define("google.protobuf", { -- their documented ranges: the years 1 to 9999, and 10,000 years either way
  Timestamp = { seconds = { min = -62135596800, max = 253402300799 }, nanos = { min = 0, max = 999999999 } },
  Duration = { seconds = { min = -315576000000, max = 315576000000 }, nanos = SIGNED_NANOS },
})

define("wgtwo.common.v0", {
  PhoneNumber = { e164 = E164 },
  TextAddress = { text_address = { needed = true, check = checks.text_address } },
  NationalPhoneNumber = { national_phone_number = { needed = true, check = checks.short_number } },
  PaginationRequest = { page_size = { min = 0 } },
  SubscriptionIdentifier = { value = NEEDED },
})

define("wgtwo.common.v1", {
  E164 = { e164 = E164 },
  Imsi = { value = text("^%d+$", "an IMSI: 6 to 15 digits", { needed = true, length = { 6, 15 } }) },
  NetworkIdentity = {
    mcc = text("^%d%d%d$", "3 digits", { needed = true }),
    mnc = text("^%d%d%d?$", "2 or 3 digits", { needed = true }),
  },
})

local SUBSCRIBER <const> = { subscriber = NEEDED }

define("wgtwo.callforward.v0", {
  DisableCallForwardingRequest = SUBSCRIBER,
  NumberCallForwardingRequest = { one_of("unconditional", "conditional"), subscriber = NEEDED },
  TrunkCallForwardingRequest = { one_of("unconditional_trunk_forwarding", "conditional_trunk_forwarding"),
    subscriber = NEEDED },
  VoicemailCallForwardingRequest = { one_of("default", "phone_number"), subscriber = NEEDED },
  Unconditional = { forward_to_number = NEEDED },
  UnconditionalTrunkForwarding = { forward_to_trunk = NEEDED },
  Trunk = { id = UUID },
})

local SUBSCRIPTION <const> = one_of("id", "phone_number")

define("wgtwo.consents.v0", {
  GetConsentsForSubscriptionRequest = { SUBSCRIPTION },
  CreateConsentForSubscriptionRequest = { SUBSCRIPTION, product_id = NEEDED },
  RevokeConsentForSubscriptionRequest = { SUBSCRIPTION, product_id = NEEDED },
})

define("wgtwo.events.v0", {
  SubscribeEventsRequest = { type = NEEDED, start_at_time_delta = { min = 0 } },
  ManualAckConfig = { timeout = { above = 0 } },
  AckRequest = { inbox = NEEDED },
})

define("wgtwo.events.v1", {
  StreamConfiguration = {
    custom_ack_timeout = { min = ack_timeout.min, max = ack_timeout.max },
    max_in_flight = { min = 0, max = in_flight.max }, -- 0 stands for the default
  },
})

define("wgtwo.ir21.v1", {
  CreateOrUpdateOrganisationRequest = { dataset_uuid = UUID_BYTES, organisation = NEEDED },
  CreateOrUpdateOrganisationFromXmlRequest = { dataset_uuid = UUID_BYTES, xml_file = NEEDED },
  DeleteOrganisationRequest = { dataset_uuid = UUID_BYTES, organisation_uuid = UUID_BYTES },
  GetOrganisationRequest = { dataset_uuid = UUID_BYTES, organisation_uuid = UUID_BYTES },
  ListOrganisationsRequest = { dataset_uuid = UUID_BYTES },
  CreateDatasetRequest = { uuid = UUID_BYTES },
  DeleteDatasetRequest = { uuid = UUID_BYTES },
  CopyDatasetRequest = { source_uuid = UUID_BYTES, destination_uuid = UUID_BYTES },
  SetActiveDatasetRequest = { dataset_uuid = UUID_BYTES, tenant_uuids = UUID_BYTES },
  Organisation = { uuid = UUID_BYTES_IF_ANY },
  Tadig = {
    tadig = text("^%a%a%a%w%w$", "5 characters, the first 3 of them letters, such as NORTM", { needed = true }),
    realms = text("^%w[%w%.%-]*%w$", "a domain name"),
    gt_prefixes = DIGITS,
  },
  GtRange = { { in_order = { "start", "stop" } }, start = { min = 0 }, stop = { min = 0 } },
})

define("wgtwo.lookup.v0", {
  NumberLookupResponse = { one_of("result", "error"), number_lookup_request = NEEDED },
  Result = { name = { length = { 0, limits.lookup.name_max } } },
  CacheControl = { max_age = { min = limits.lookup.max_age.min } },
})

define("wgtwo.mms.v0", {
  SendMessageToSubscriberRequest = { one_of("from_e164", "from_text_address"), message_content = NEEDED,
    to_subscriber = NEEDED },
  SendMessageFromSubscriberRequest = { message_content = NEEDED, from_subscriber = NEEDED, to_e164 = NEEDED },
  MessageContent = { one_of("audio", "text", "image") },
  AudioContent = { one_of("mp3", "opus", "amr", "wav") },
  ImageContent = { one_of("png", "jpg") },
})

define("wgtwo.number_portability.v0", {
  CreatePortingRecordsRequest = { records = NEEDED },
  PortingRecord = { subscriber_number = NEEDED },
})

define("wgtwo.number_portability.v1", {
  CreatePortingRecordsRequest = { records = NEEDED },
  PortingRecord = { subscriber_number = NEEDED },
  CreateOrUpdateDestinationRequest = { destination = NEEDED },
  DeleteDestinationRequest = { destination_id = NEEDED },
  CreateOrUpdateNumberBlockRequest = { block = NEEDED },
  NumberBlock = { destination_id = NEEDED, prefix = NEEDED_DIGITS },
  DeleteNumberBlockRequest = { destination_id = NEEDED, prefix = NEEDED_DIGITS },
  ListNumberBlocksRequest = { prefix = DIGITS },
})

define("wgtwo.products.v0", {
  ListProductsForTenantRequest = { tenant = NEEDED },
})

define("wgtwo.sim.v0", {
  GenerateEapAkaAuthenticationVectorRequest = { imsi = NEEDED },
})

define("wgtwo.sipbreakout.v1", {
  UpsertRegistrationRequest = { registration = NEEDED },
  DeleteRegistrationRequest = { registration = NEEDED },
  Registration = { sip_uri = text("^[Ss][Ii][Pp][Ss]?:%S+$", "a SIP URI such as sip:pbx.example.com") },
})

define("wgtwo.sms.v0", { -- the rest of what SMS have to be is in wgtwo.sms.methods, shared with the client
  ["SendBinaryToSubscriberRequest.ApplicationPort"] = { originatorPort = PORT, destinationPort = PORT },
})

define("wgtwo.sms.v1", {
  SendDataToSubscriberRequest = { protocol_identifier = { min = 0, max = 255 } },
  ApplicationPort = { originator_port = PORT, destination_port = PORT },
})

define("wgtwo.subscription.v0", {
  GetSubscriptionIdRequest = { phone_number = NEEDED },
  GetMsisdnRequest = { subscription_id = NEEDED },
  GetNetworkInfoForSubscriberRequest = { phone_number = NEEDED },
  GetAttachmentAttemptsForSubscriberRequest = { phone_number = NEEDED },
  Interval = { { in_order = { "after", "before" } } },
})

define("wgtwo.voicemail.v0", {
  GetAllVoicemailMetadataRequest = { to = NEEDED },
  GetVoicemailRequest = { voicemail_id = NEEDED },
  MarkVoicemailAsReadRequest = { voicemail_id = NEEDED },
  DeleteVoicemailRequest = { voicemail_id = NEEDED },
  ResetVoicemailGreetingRequest = SUBSCRIBER,
})

return rules
