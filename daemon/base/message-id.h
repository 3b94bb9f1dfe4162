/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The MESSAGE_ID= of what an administrator acts upon or follows up: never used for anything else, and never changed. Each is
 * explained in systemd/aviommud.catalog and listed in aviommud-journal(7); tests/lib/words compares the three.
 */

#define MESSAGE_VM_ADMITTED          "1bdda32ab5b24086a9724670c77dcf68"
#define MESSAGE_VM_RELEASED          "4532e94e1fb848188996a8c4c11ecbc7"
#define MESSAGE_VM_QUARANTINED       "d6dc12aede5b4a0f84cec5b6b3df49a8"
#define MESSAGE_VM_STAYS             "d025b7d07fd1407989d1048db45c88ec"
#define MESSAGE_LEASH_ENDED          "c7f32ca2cd8348e6a5c5de0e1c1fce7f"
#define MESSAGE_VM_LOSSES            "1d0698be266f40d5ab0784501ddbfc30"
#define MESSAGE_VM_UNREPAIRED        "27ad135bcb5b4b99a3471f5e9fcabe28"
#define MESSAGE_VIOMMU_UNCLEAR       "96d98d3932294aad861294b455f6ccb4"
#define MESSAGE_FUNCTION_ATTACHED    "5437ecf6591b49ed9bbdfbff28bb05ac"
#define MESSAGE_FUNCTION_DETACHED    "d61af8422254463299bd03e6b147001f"
#define MESSAGE_FUNCTION_STUCK       "77601dff685d4914a07a6f04b651c8d4"
#define MESSAGE_FUNCTION_GONE        "e795831ae343482ba757d6d3aeed92e7"
#define MESSAGE_FUNCTION_BACK        "5b7ba5126e734fbd874a24fc4555ddc7"
#define MESSAGE_FUNCTION_WANTED      "593666ae105845feb9baa5a3cd649161"
#define MESSAGE_RESERVATION_EXPIRED  "5698da4bc05646b39fe73f78b80b5c7e"
#define MESSAGE_DEFINITION_REFUSED   "96424fd71bc5479c83e9024f841dbc02"
#define MESSAGE_DEFINITION_UNREAD    "688cff1447ce48e1b2b0ecb972dae428"
#define MESSAGE_RECORD_DAMAGED       "011657e62b6b404380feb469e4e83dfa"
#define MESSAGE_RECORD_NEWER         "46346e8828bc45818285486111bd1e52"
#define MESSAGE_RECORD_GIVEN_UP      "5e354b95716a4f61b04daaa74342b389"
#define MESSAGE_RECORDS_FAILING      "dbe5862488034fb89b67229d90694e07"
#define MESSAGE_RECORDS_WORKING      "b5080dfaf548457a9181fda67c3cfbac"
#define MESSAGE_RECOVERED            "7b094ffc90e04387aa2542ef2fccb50a"
#define MESSAGE_DESCRIPTORS_KEPT     "6ede5fb8fb174682b0cbeca47ac0460e"
#define MESSAGE_KERNEL_LEVEL         "2416e51bbc984cd9a6927855355734ca"
#define MESSAGE_HOST_LACKS           "4d81090a3afc43d0a78168175a73dbc8"
#define MESSAGE_HOST_UNREAD          "c6da2ff7ab934100a272b1f61274f120"
#define MESSAGE_CONFIG_READ          "09b8d85c44cc43e4b2a9f9bb2b3970ac"
#define MESSAGE_CONFIG_REFUSED       "93918eda34a540a1a0bb98eb0c0da396"
#define MESSAGE_START_FAILED         "2f9a791234c543a9844e9cd0d2ceccb8"
#define MESSAGE_BUS_LOST             "57b316af83804302abe2bb85865ca5c1"
#define MESSAGE_DOMAIN_TROUBLE       "97d680a6c3374696aac55a49267705ae"
#define MESSAGE_AGENT_NO_DAEMON      "e5c2399fba2849c7abb0c748893a9b49"
#define MESSAGE_AGENT_NO_LIBVIRT     "7e566f51688f4a8bbb2a458062673cf7"
#define MESSAGE_AGENT_NO_DESCRIPTORS "d92db7729db84e259dd0688c6e7db210"
#define MESSAGE_AGENT_NO_REPORT      "ce96d440912a48c8842e98cd8fe90e90"
